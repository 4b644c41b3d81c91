"""The commands `rheostat agent`. They import what they need when they run, so that the command line starts at once."""

# ruff: noqa: PLC0415

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rheostat.schemas.agent import DEFAULT_DIRECTORY, DIRECTORY_VARIABLE

if TYPE_CHECKING:
    from rheostat.agent.devices import Driver

agent = typer.Typer(help="Run the agent of a GPU node, or look after it.", invoke_without_command=True)

RuntimeDirectory = Annotated[
    Path, typer.Option(envvar=DIRECTORY_VARIABLE, help="Where the agent's socket and ledger are.")
]
SiteFile = Annotated[
    Path | None,
    typer.Option(
        "--site", help="What the site allows. (Default: /etc/rheostat/agent.toml, if it is there.)", show_default=False
    ),
]
Simulate = Annotated[int, typer.Option(min=0, max=64, help="Simulate so many GPUs instead of using real ones.")]
MetricsPort = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Serve metrics on this loopback port; 0: any free one.")
]


@agent.callback()
def default(context: typer.Context) -> None:
    """Run the agent when no command is named."""
    if context.invoked_subcommand is None:
        command = typer.main.get_command(agent).get_command(context, "run")  # type: ignore[attr-defined]
        with command.make_context("run", [], parent=context) as inner:
            command.invoke(inner)


@agent.command()
def run(
    runtime_dir: RuntimeDirectory = DEFAULT_DIRECTORY,
    site: SiteFile = None,
    simulate: Simulate = 0,
    metrics_port: MetricsPort = None,
) -> None:
    """Run the agent until it is told to stop; needs root, but for --simulate."""
    import logging

    from rheostat.agent.daemon import Settings
    from rheostat.agent.daemon import run as run_daemon
    from rheostat.agent.site import load_site

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    settings = Settings(runtime_dir, load_site(site), metrics_port, own_group=simulate > 0)
    raise typer.Exit(run_daemon(_driver(simulate), settings))


@agent.command()
def status(runtime_dir: RuntimeDirectory = DEFAULT_DIRECTORY) -> None:
    """Tell how the GPUs stand; exits with 1 unless an agent is ready."""
    from rheostat.agent.client import ask
    from rheostat.agent.daemon import ledger_in, socket_path
    from rheostat.errors import ServerUnreachable

    try:
        health = ask(socket_path(runtime_dir), "GET", "/readyz")
        gpus = ask(socket_path(runtime_dir), "GET", "/v1/gpus")["gpus"]
    except ServerUnreachable as error:
        typer.echo(error.message)
        for entry in ledger_in(runtime_dir).peek():
            watts = entry.found_milliwatts / 1000
            typer.echo(f"{entry.uuid}\tto be restored to {watts:g} W: rheostat agent recover")
        raise typer.Exit(1) from None
    for gpu in gpus:
        limit = "?" if gpu["power_limit_watts"] is None else f"{gpu['power_limit_watts']:g}"
        holder = gpu["holder"]
        who = "" if holder is None else f"\tprocess {holder['pid']} of {holder['user']}, job {holder['job_id'] or '-'}"
        found = "" if gpu["found_watts"] is None else f" (found: {gpu['found_watts']:g} W)"
        typer.echo(f"{gpu['index']}\t{gpu['gpu']}\t{gpu['state']}\t{limit} W{found}{who}")
    for problem in health["problems"]:
        typer.echo(f"! {problem}")
    raise typer.Exit(0 if health["status"] == "ok" else 1)


@agent.command()
def recover(runtime_dir: RuntimeDirectory = DEFAULT_DIRECTORY, site: SiteFile = None) -> None:
    """Without an agent running: put back every limit whose process has ended."""
    _recover(runtime_dir, site, keep_living=True)


@agent.command()
def restore(runtime_dir: RuntimeDirectory = DEFAULT_DIRECTORY, site: SiteFile = None) -> None:
    """End all leases and put back every limit, of living processes, too; with or without an agent running."""
    from rheostat.agent.client import ask
    from rheostat.agent.daemon import socket_path
    from rheostat.errors import ServerUnreachable

    try:
        gpus = ask(socket_path(runtime_dir), "GET", "/v1/gpus")["gpus"]
    except ServerUnreachable:
        _recover(runtime_dir, site, keep_living=False)
        return
    for lease_id in {gpu["holder"]["lease_id"] for gpu in gpus if gpu["holder"] is not None}:
        ask(socket_path(runtime_dir), "DELETE", f"/v1/leases/{lease_id}")
    status(runtime_dir)


def _recover(runtime_dir: Path, site: Path | None, *, keep_living: bool) -> None:
    from rheostat.agent.daemon import ledger_in
    from rheostat.agent.recover import recover as recover_limits
    from rheostat.agent.site import load_site

    left = recover_limits(_driver(0), ledger_in(runtime_dir), load_site(site), keep_living=keep_living)
    for view in left:
        what = "its process lives" if view.terms is not None else view.problem
        typer.echo(f"{view.description.uuid}\tnot restored: {what}")
    raise typer.Exit(1 if any(view.terms is None for view in left) else 0)


def _driver(simulate: int) -> "Driver":
    if simulate:
        from rheostat.agent.simulated import SimulatedDriver

        return SimulatedDriver(simulate)
    from rheostat.agent.nvml import NvmlDriver

    return NvmlDriver()
