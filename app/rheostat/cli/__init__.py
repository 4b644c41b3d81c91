"""The command line. Each command imports what it needs when it runs, so that the SDK alone can start it."""

import os
import sys
from contextlib import nullcontext
from typing import Annotated

import typer

from rheostat.cli import admin, job_settings, orders
from rheostat.cli.admin import DatabaseUrl, NamespaceOption, open_from_settings
from rheostat.cli.agent import agent
from rheostat.cli.doctor import doctor
from rheostat.cli.export import export
from rheostat.cli.help import CommandsByUse, Version, help_text, teach
from rheostat.cli.history import import_runs
from rheostat.cli.progress import ProgressLine
from rheostat.cli.savings import savings
from rheostat.cli.spool import spool
from rheostat.cli.words import counted, say_if_none
from rheostat.demo.command import demo
from rheostat.errors import RheostatError, Unavailable
from rheostat.extras import install_command
from rheostat.launch.command import measure, run
from rheostat.printable import printable
from rheostat.replay.command import replay

app = typer.Typer(
    cls=CommandsByUse,
    help=help_text("", "Train recurring jobs to the same accuracy with less energy and time."),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
jobs = typer.Typer(help="List, show, change and steer the jobs in the database.", no_args_is_help=True)
database = typer.Typer(help="Upgrade, back up, restore and prune the database.", no_args_is_help=True)
app.add_typer(jobs, name="jobs")
app.add_typer(spool, name="spool")
app.add_typer(database, name="db")
app.add_typer(admin.token, name="token")
app.add_typer(agent, name="agent")
jobs.command("set")(job_settings.set_job)
jobs.command("delete")(job_settings.delete_job)
jobs.command("pin")(orders.pin_job)
jobs.command("unpin")(orders.unpin_job)
jobs.command("pause")(orders.pause_job)
jobs.command("resume")(orders.resume_job)
jobs.command("force")(orders.force_job)
app.command()(admin.audit)
app.command()(savings)
app.command()(export)
database.command("backup")(admin.back_up_database)
database.command("restore")(admin.restore_database)
database.command("prune")(admin.prune_database)
jobs.command("import")(import_runs)
app.command()(replay)
app.command()(demo)
app.command()(doctor)
# Options after the name of the user's command belong to that command.
app.command(context_settings={"allow_interspersed_args": False})(run)
app.command(context_settings={"allow_interspersed_args": False})(measure)

_EXTRAS = {
    "serve": "server",
    "jobs": "server",
    "db": "server",
    "token": "server",
    "audit": "server",
    "savings": "server",
    "export": "server",
    "replay": "replay",
    "demo": "demo",
    "agent": "agent",
}


@app.callback()
def options(version: Version = False) -> None:
    """Take the options that stand before a command."""


def main() -> None:
    """Run the command line; a `RheostatError` is printed as a message and exits with 1."""
    try:
        app()
    except RheostatError as error:
        cause = error.cause_text() if isinstance(error, Unavailable) else ""
        typer.secho(printable(f"rheostat: {error}{cause}", keep="\n"), fg="red", err=True)
        raise SystemExit(1) from None
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(next(iter(sys.argv[1:]), ""))
        if extra is None or (error.name or "").startswith("rheostat"):
            raise
        needs = f"This command needs {error.name}, which the extra {extra} installs"
        typer.secho(f"rheostat: {needs}: {install_command(extra)}", fg="red", err=True)
        raise SystemExit(1) from None


@app.command()
def serve(
    database_url: DatabaseUrl = None,
    host: Annotated[
        str | None,
        typer.Option(help="Address to bind; without tokens loopback only. (Default: 127.0.0.1.)", show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Port to bind; 0: any free one. (Default: 8420.)", show_default=False),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=256, help="Worker processes; use several with PostgreSQL only. (Default: 1.)", show_default=False
        ),
    ] = None,
    root_path: Annotated[
        str | None,
        typer.Option(help="Prefix that a reverse proxy serves all under, as /rheostat.", show_default=False),
    ] = None,
) -> None:
    """Run the server; every option is also an environment variable, such as RHEOSTAT_PORT."""
    # Before numpy is imported: on matrices of a dozen rows its threads slow down each other and requests.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from rheostat.api.metrics_directory import metrics_directory
    from rheostat.api.settings import load_settings

    settings = load_settings(database_url=database_url, host=host, port=port, workers=workers, root_path=root_path)
    with metrics_directory() if settings.workers > 1 else nullcontext():
        from rheostat.api.server import serve as run  # imported after the folder is set, which its imports read

        run(settings)


@jobs.command("list")
def list_jobs(database_url: DatabaseUrl = None, namespace: NamespaceOption = None) -> None:
    """List all jobs of a namespace."""
    from rheostat import service as use_cases
    from rheostat.service.operations import database_place

    with open_from_settings(database_url, namespace=namespace) as service:
        cursor = None
        while True:
            page = use_cases.list_jobs(service, cursor=cursor, limit=200)
            if cursor is None:
                where = f"namespace {service.namespace} of {database_place(service)}"
                say_if_none(len(page.jobs), f"There are no jobs in {where}.")
            for job in page.jobs:
                typer.echo(f"{job.job_id}\t{counted(job.trials, 'trial')}\tpolicy {job.settings.policy}")
            cursor = page.next_cursor
            if cursor is None:
                return


@jobs.command("show")
def show_job(job_id: str, database_url: DatabaseUrl = None, namespace: NamespaceOption = None) -> None:
    """Show a job, its estimates and its savings as JSON."""
    import json

    from rheostat import service as use_cases

    with open_from_settings(database_url, namespace=namespace) as service:
        parts = {
            "job": use_cases.get_job(service, job_id),
            "estimates": use_cases.estimates(service, job_id),
            "savings": use_cases.savings(service, job_id),
        }
        typer.echo(json.dumps({name: part.model_dump(mode="json") for name, part in parts.items()}, indent=2))


@jobs.command("rebuild")
def rebuild_job(job_id: str, database_url: DatabaseUrl = None, namespace: NamespaceOption = None) -> None:
    """Rebuild the policy's state of a job from the recorded observations."""
    from rheostat import service as use_cases

    with open_from_settings(database_url, namespace=namespace) as service:
        pieces = use_cases.rebuild_job(service, job_id).result().answer
        typer.echo(f"{job_id}: rebuilt from {counted(pieces, 'observation')}")


@database.command("upgrade")
def upgrade_database(database_url: DatabaseUrl = None) -> None:
    """Upgrade the schema to this version; safe to run on several hosts at once."""
    from rheostat.service.operations import schema_status, upgrade_schema

    with open_from_settings(database_url, upgrade=False, create=True) as service:
        with ProgressLine("deriving states of an older version", "jobs done") as line:
            before = upgrade_schema(service, line.show)
        after = schema_status(service)
        is_new = before.current != after.current
        typer.echo(
            f"schema: {before.current or 'empty'} -> {after.current}"
            if is_new
            else f"schema: already at {after.current}"
        )


@database.command("status")
def database_status(database_url: DatabaseUrl = None) -> None:
    """Show the version of the schema; exits with 1 unless it is the one that this version of Rheostat needs."""
    from rheostat.service.operations import schema_status

    with open_from_settings(database_url, upgrade=False, create=True) as service:
        status = schema_status(service)
        typer.echo(f"database: {service.database}")
        typer.echo(f"schema: {status.current or 'empty'}; this version needs {status.head}")
        if not status.at_head:
            raise typer.Exit(1)


teach(app)
