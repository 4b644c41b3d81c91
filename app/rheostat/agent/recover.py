"""Puts limits back without a daemon: after it was killed (systemd's ExecStopPost), or in Slurm's epilog."""

from time import monotonic, sleep

from rheostat.agent.devices import Driver
from rheostat.agent.ledger import Ledger
from rheostat.agent.node import Node
from rheostat.agent.site import Site
from rheostat.agent.views import View
from rheostat.errors import DriverReloaded, GpuUnavailable

_PATIENCE_SECONDS = 10.0


def recover(driver: Driver, ledger: Ledger, site: Site, *, keep_living: bool) -> list[View]:
    """Do for every GPU what an agent does when it starts, and stop then.

    Args:
        driver: The GPUs.
        ledger: What was found on them.
        site: What the site allows.
        keep_living: Leave the limits of processes that live, for the next agent to go on with.

    Returns:
        How the GPUs stand that still have a limit of ours.

    Raises:
        RheostatError: When an agent runs, the driver cannot be used, or a GPU whose limit is to be put back is not
            there.
    """
    if not ledger.has_entries():
        return []
    reloads: list[DriverReloaded] = []
    with ledger.locked():
        node = Node(driver, ledger, site, reloads.append)
        node.start()
        if not keep_living:
            node.end_all()
        give_up_at = monotonic() + _PATIENCE_SECONDS
        while _unfinished(node) and monotonic() < give_up_at and not reloads:
            sleep(0.02)
        if reloads:
            raise reloads[0]
        if missing := node.missing():
            raise GpuUnavailable(
                f"GPU {', '.join(sorted(missing))}, whose limit is to be restored, is not there.",
                hint="It may hang, or be lost: try again when nvidia-smi shows it.",
            )
        return [view for view in node.views() if view.found_milliwatts is not None]


def _unfinished(node: Node) -> bool:
    restoring = any(view.found_milliwatts is not None and view.terms is None for view in node.views())
    return restoring or bool(node.missing())
