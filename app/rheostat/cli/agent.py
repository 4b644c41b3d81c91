"""The commands `rheostat agent`. They import lazily, so that the command line starts fast."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rheostat.printable import PrintableFormatter, printable
from rheostat.schemas.agent import DEFAULT_DIRECTORY, DIRECTORY_VARIABLE

if TYPE_CHECKING:
    from rheostat.agent.devices import Driver

agent = typer.Typer(
    help="Run the agent of a GPU node, show its state, or restore power limits.", invoke_without_command=True
)

RuntimeDirectory = Annotated[
    Path, typer.Option(envvar=DIRECTORY_VARIABLE, help="Directory of the agent's socket and ledger.")
]
SiteFile = Annotated[
    Path | None,
    typer.Option("--site", help="Site file. (Default: /etc/rheostat/agent.toml, if it exists.)", show_default=False),
]
Simulate = Annotated[int, typer.Option(min=0, max=64, help="Number of GPUs to simulate instead of using real ones.")]
MetricsPort = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Serve metrics on this loopback port; 0: any free one.")
]


@agent.callback()
def default(context: typer.Context) -> None:
    """Run the agent when no command is given."""
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
    """Run the agent until a signal stops it; needs root, except with --simulate."""
    import logging

    from rheostat.agent.daemon import AgentSettings
    from rheostat.agent.daemon import run as run_daemon
    from rheostat.agent.site import load_site

    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    settings = AgentSettings(runtime_dir, load_site(site), metrics_port, own_group=simulate > 0)
    raise typer.Exit(run_daemon(_driver(simulate), settings))


@agent.command()
def status(runtime_dir: RuntimeDirectory = DEFAULT_DIRECTORY) -> None:
    """Show each GPU's state; exits with 1 unless an agent is ready."""
    from rheostat.agent.daemon import ledger_in, socket_path
    from rheostat.errors import ServerUnreachable
    from rheostat.sdk.node_agent import NodeAgent

    try:
        with NodeAgent(socket_path(runtime_dir)) as node:
            problems, gpus = node.problems(), node.gpus()
    except ServerUnreachable as error:
        _say(f"No agent answers: {error}")  # Slurm's epilog looks for these words
        ledger = ledger_in(runtime_dir)
        for entry in ledger.peek():
            watts = entry.found_milliwatts / 1000
            _say(f"{entry.uuid}\tto restore: {watts:g} W, by: rheostat agent recover")
        for problem in ledger.problems():
            _say(f"! {problem}")
        raise typer.Exit(1) from None
    for gpu in gpus:
        limit = "?" if gpu.power_limit_watts is None else f"{gpu.power_limit_watts:g}"
        holder = gpu.holder
        who = "" if holder is None else f"\tprocess {holder.pid} of {holder.user}, job {holder.job_id or '-'}"
        found = "" if gpu.found_watts is None else f" (found: {gpu.found_watts:g} W)"
        fixed = "" if gpu.limits == "allowed" else f", changing it is {gpu.limits}"
        fixed = ", partitioned (MIG), so not leased" if gpu.partitioned else fixed
        _say(f"{gpu.index}\t{gpu.gpu}\t{gpu.state}\t{limit} W{found}{fixed}{who}")
    for problem in problems:
        _say(f"! {problem}")
    raise typer.Exit(1 if problems else 0)


@agent.command()
def recover(runtime_dir: RuntimeDirectory = DEFAULT_DIRECTORY, site: SiteFile = None) -> None:
    """Restore the limits of processes that have exited; only while no agent is running."""
    _recover(runtime_dir, site, keep_alive=True)


@agent.command()
def restore(runtime_dir: RuntimeDirectory = DEFAULT_DIRECTORY, site: SiteFile = None) -> None:
    """End all leases and restore every limit, also of running processes, with or without an agent running."""
    from rheostat.agent.daemon import socket_path
    from rheostat.errors import ServerUnreachable
    from rheostat.sdk.node_agent import NodeAgent

    with NodeAgent(socket_path(runtime_dir)) as node:
        try:
            gpus = node.gpus()
        except ServerUnreachable:
            if node.has_socket and not os.access(node.socket, os.W_OK):
                raise  # an agent may run, which alone may restore
            _recover(runtime_dir, site, keep_alive=False)
            return
        for lease_id in {gpu.holder.lease_id for gpu in gpus if gpu.holder is not None}:
            node.end_lease(lease_id)
    status(runtime_dir)


def _recover(runtime_dir: Path, site: Path | None, *, keep_alive: bool) -> None:
    from rheostat.agent.daemon import ledger_in
    from rheostat.agent.recover import recover as recover_limits
    from rheostat.agent.site import load_site

    ledger = ledger_in(runtime_dir)
    left = recover_limits(_driver(0), ledger, load_site(site), keep_alive=keep_alive)
    for gpu in left:
        why = gpu.problem if gpu.terms is None else f"its process {gpu.terms.owner.pid} is alive"
        _say(f"{gpu.uuid}\tnot restored: {why}")
    unreadable = ledger.problems()
    for problem in unreadable:
        _say(f"! {problem}")
    raise typer.Exit(1 if unreadable or any(gpu.terms is None for gpu in left) else 0)


def _say(line: str) -> None:
    typer.echo(printable(line, keep="\t"))  # it may hold what a process or a GPU calls itself


def _driver(simulate: int) -> "Driver":
    if simulate:
        from rheostat.agent.simulated import SimulatedDriver

        return SimulatedDriver(simulate)
    from rheostat.agent.nvml import NvmlDriver

    return NvmlDriver()
