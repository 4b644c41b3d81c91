"""Looks at everything at the same time, within seconds, and runs all checks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from rheostat.doctor.checks import disk, gpus, installation, node, remote, store
from rheostat.doctor.facts.disk import Spool, look_at_spool
from rheostat.doctor.facts.gpus import Gpus, look_at_gpus
from rheostat.doctor.facts.installation import Installation, look_at_installation
from rheostat.doctor.facts.node import NodeFacts, look_at_node
from rheostat.doctor.facts.patience import Look
from rheostat.doctor.facts.remote import Remote, look_at_server
from rheostat.doctor.facts.store import Store, look_at_store
from rheostat.doctor.finding import Finding, problem
from rheostat.doctor.machine import Machine

PATIENCE_SECONDS = 30.0
"""Longest time to look; a driver, a network or a file system may hang."""

_NOTHING_SEEN: dict[str, Any] = {
    "installation": Installation(),
    "gpus": Gpus(),
    "node": NodeFacts(),
    "remote": Remote(),
    "store": Store(),
    "spool": Spool(),
}

CHECKS: Sequence[tuple[str, Callable[[Machine], Finding]]] = (
    ("installation", installation.versions),
    ("installation", installation.extras),
    ("installation", installation.settings),
    ("installation", installation.system),
    ("gpus", gpus.driver),
    ("gpus", gpus.gpus),
    ("gpus", gpus.energy),
    ("gpus", gpus.limits),
    ("gpus", gpus.privilege),
    ("node", node.agent),
    ("node", node.leases),
    ("store", store.database),
    ("store", store.port),
    ("remote", remote.server),
    ("remote", remote.version),
    ("remote", remote.proxy),
    ("remote", remote.token),
    ("remote", remote.clock),
    ("spool", disk.spool),
)
"""Each check and the facts that it is mainly about, in the order in which they are shown: causes before effects."""


@dataclass(frozen=True, slots=True)
class Options:
    """Where to look, instead of where the environment says.

    Attributes:
        agent_directory: The agent's runtime directory.
        server_url: The server's address.
        database_url: The database of a server here.
    """

    agent_directory: Path | None = None
    server_url: str | None = None
    database_url: str | None = None


def examine(options: Options, patience_seconds: float = PATIENCE_SECONDS) -> list[Finding]:
    """Look at this machine, and return what each check finds."""
    looks: dict[str, Look[Any]] = {
        "installation": Look(look_at_installation),
        "gpus": Look(look_at_gpus),
        "node": Look(lambda: look_at_node(options.agent_directory)),
        "remote": Look(lambda: look_at_server(options.server_url)),
        "store": Look(lambda: look_at_store(options.database_url)),
        "spool": Look(look_at_spool),
    }
    give_up_at = monotonic() + patience_seconds
    for look in looks.values():
        look.join(max(0.0, give_up_at - monotonic()))
    machine = Machine(**{name: look.result or _NOTHING_SEEN[name] for name, look in looks.items()})
    unseen = {name: look for name, look in looks.items() if look.result is None}
    return [_not_seen(check, unseen[facts]) if facts in unseen else check(machine) for facts, check in CHECKS]


def _not_seen(check: Callable[[Machine], Finding], look: Look[Any]) -> Finding:
    why = "did not end in time" if look.error is None else f"failed: {type(look.error).__name__}: {look.error}"
    return problem(
        check.__name__,
        f"the check {why}",
        "Something hangs, or answers as no check expects.",
        "Run it again; report it if it stays, with this output.",
    )
