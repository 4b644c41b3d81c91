"""The command line. Each command imports what it needs when it runs, so that the SDK alone can start it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from rheostat.agent.command import agent
from rheostat.demo.command import demo
from rheostat.errors import RheostatError
from rheostat.replay.command import replay

if TYPE_CHECKING:
    from rheostat.service import Service

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="RHEOSTAT_DATABASE_URL",
        help="SQLite or PostgreSQL. (Default: an SQLite file in your state directory.)",
        show_default=False,
    ),
]

app = typer.Typer(
    help="The same model for less energy and time, run after run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
jobs = typer.Typer(help="Look at the jobs in the database.", no_args_is_help=True)
database = typer.Typer(help="Look after the database's schema.", no_args_is_help=True)
app.add_typer(jobs, name="jobs")
app.add_typer(database, name="db")
app.add_typer(agent, name="agent")
app.command()(replay)
app.command()(demo)

_EXTRAS = {"serve": "server", "jobs": "server", "db": "server", "replay": "replay", "demo": "demo", "agent": "agent"}


def main() -> None:
    """Run the command line; an error that has a remedy is told in words and exits with 1."""
    try:
        app()
    except RheostatError as error:
        typer.secho(f"rheostat: {error}", fg="red", err=True)
        raise SystemExit(1) from None
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(next(iter(sys.argv[1:]), ""))
        if extra is None or (error.name or "").startswith("rheostat"):
            raise
        typer.secho(f"rheostat: this command needs: pip install 'rheostat[{extra}]'", fg="red", err=True)
        raise SystemExit(1) from None


@app.command()
def serve(
    database_url: DatabaseUrl = None,
    host: Annotated[
        str | None, typer.Option(help="Loopback address. (Default: 127.0.0.1.)", show_default=False)
    ] = None,
    port: Annotated[int | None, typer.Option(help="0: any free one. (Default: 8420.)", show_default=False)] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes; more than one pays on PostgreSQL. (Default: 1.)", show_default=False)
    ] = None,
) -> None:
    """Run the server; every option is also an environment variable, as RHEOSTAT_PORT."""
    from rheostat.api.server import serve as run
    from rheostat.api.settings import load_settings

    run(load_settings(database_url=database_url, host=host, port=port, workers=workers))


@jobs.command("list")
def list_jobs(database_url: DatabaseUrl = None) -> None:
    """List all jobs."""
    from rheostat import service as use_cases

    with _service(database_url) as service:
        cursor = None
        while True:
            page = use_cases.list_jobs(service, cursor=cursor, limit=200)
            for job in page.jobs:
                typer.echo(f"{job.job_id}\t{job.trials} trials\tpolicy {job.settings.policy}")
            cursor = page.next_cursor
            if cursor is None:
                return


@jobs.command("show")
def show_job(job_id: str, database_url: DatabaseUrl = None) -> None:
    """Show a job, what is believed of its batch sizes, and what it saved, as JSON."""
    import json

    from rheostat import service as use_cases

    with _service(database_url) as service:
        parts = {
            "job": use_cases.get_job(service, job_id),
            "estimates": use_cases.estimates(service, job_id),
            "savings": use_cases.savings(service, job_id),
        }
        typer.echo(json.dumps({name: part.model_dump(mode="json") for name, part in parts.items()}, indent=2))


@jobs.command("rebuild")
def rebuild_job(job_id: str, database_url: DatabaseUrl = None) -> None:
    """Derive what a policy knows of a job anew, from the recorded observations."""
    from rheostat import service as use_cases

    with _service(database_url) as service:
        typer.echo(f"{job_id}: rebuilt from {use_cases.rebuild_job(service, job_id)} observations")


@database.command("upgrade")
def upgrade_database(database_url: DatabaseUrl = None) -> None:
    """Bring the schema to this version; safe to run from several hosts at once."""
    from rheostat.service.operations import schema_status, upgrade_schema

    with _service(database_url, upgrade=False) as service:
        before = upgrade_schema(service)
        after = schema_status(service)
        typer.echo(f"schema: {before.current or 'empty'} -> {after.current}")


@database.command("status")
def database_status(database_url: DatabaseUrl = None) -> None:
    """Tell where the schema stands; exits with 1 unless this version can work with it."""
    from rheostat.service.operations import schema_status

    with _service(database_url, upgrade=False) as service:
        status = schema_status(service)
        typer.echo(f"database: {service.database}")
        typer.echo(f"schema: {status.current or 'empty'}; this version works with {status.head}")
        if not status.at_head:
            raise typer.Exit(1)


@contextmanager
def _service(database_url: str | None, *, upgrade: bool = True) -> "Iterator[Service]":
    from datetime import timedelta

    from rheostat.api.settings import load_settings
    from rheostat.service.operations import close_service, open_service

    settings = load_settings(database_url=database_url)
    service = open_service(settings.database_url, timedelta(seconds=settings.lease_seconds), upgrade=upgrade)
    try:
        yield service
    finally:
        close_service(service)
