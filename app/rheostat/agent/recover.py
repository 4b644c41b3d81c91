"""Restores limits without a daemon: after it was killed (systemd's ExecStopPost), or in Slurm's epilog."""

from time import monotonic, sleep

from rheostat.agent.claims import claimed
from rheostat.agent.devices import Driver
from rheostat.agent.lease import Leases
from rheostat.agent.ledger import Ledger
from rheostat.agent.node import Node
from rheostat.agent.site import Site
from rheostat.agent.status import GpuStatus
from rheostat.agent.worker import Timing
from rheostat.errors import DriverReloaded, GpuUnavailable


def recover(
    driver: Driver, ledger: Ledger, site: Site, *, keep_alive: bool, wait_seconds: float = 10.0
) -> list[GpuStatus]:
    """Do for every GPU what an agent does at its start, and return.

    Args:
        driver: The driver of the GPUs.
        ledger: The limits found on them.
        site: What the site allows.
        keep_alive: Keep the limits of processes that are alive, for the next agent.
        wait_seconds: How long to wait for GPUs that are missing or that fail.

    Returns:
        The GPUs that still have a limit of the agent's.

    Raises:
        RheostatError: When an agent is running, the driver cannot be used, or a GPU whose limit must be restored is
            missing.
    """
    if not ledger.has_entries() and not ledger.has_leases():
        return []
    with ledger.locked():
        if not ledger.has_entries():  # the driver may be unloaded, and is not needed
            Leases(ledger).drop(keep_alive=keep_alive)
            return []
        with claimed(driver, ledger.directory.parent) as ours:
            return _recover(ours, ledger, site, keep_alive=keep_alive, wait_seconds=wait_seconds)


def _recover(driver: Driver, ledger: Ledger, site: Site, *, keep_alive: bool, wait_seconds: float) -> list[GpuStatus]:
    reloads: list[DriverReloaded] = []
    node = Node(driver, ledger, site, reloads.append, timing=Timing())
    try:
        node.start()
        if not keep_alive:
            node.end_all()
        give_up_at = monotonic() + wait_seconds
        while _unfinished(node, keep_alive=keep_alive) and monotonic() < give_up_at and not reloads:
            sleep(0.02)
    finally:
        node.stop()
    if reloads:
        raise reloads[0]
    if missing := node.missing():
        raise GpuUnavailable(
            f"GPU {', '.join(sorted(missing))}, whose limit must be restored, is missing.",
            hint="It may hang or be lost: try again when nvidia-smi shows it.",
        )
    return node.unrestored()


def _unfinished(node: Node, *, keep_alive: bool) -> bool:
    # The lease of a process that is alive keeps its limit; one that has ended waits for its turn at a busy driver.
    return any(status.terms is None or not keep_alive for status in node.unrestored()) or bool(node.missing())
