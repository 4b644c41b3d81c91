"""The agent process: starts the node and its socket, notifies systemd, and restores every limit at the end."""

import logging
import os
import signal
import threading
from dataclasses import dataclass, field
from pathlib import Path

from rheostat.agent.api import Api
from rheostat.agent.claims import claimed
from rheostat.agent.devices import Driver
from rheostat.agent.ledger import Ledger
from rheostat.agent.metrics import MetricsServer
from rheostat.agent.node import Node
from rheostat.agent.notify import Notifier
from rheostat.agent.peer import group_id
from rheostat.agent.simulated import SimulatedDriver
from rheostat.agent.site import Site
from rheostat.agent.unix_server import UnixServer
from rheostat.agent.worker import Timing
from rheostat.errors import ConfigurationError, DriverReloaded, LedgerFailed
from rheostat.schemas.agent import SOCKET_NAME

logger = logging.getLogger(__name__)

# EX_TEMPFAIL of sysexits.h: the supervisor restarts the agent.
EXIT_RESTART = 75
_REAP_SECONDS = 0.25


def socket_path(runtime_directory: Path) -> Path:
    """Return the path of the socket."""
    return runtime_directory / SOCKET_NAME


def ledger_in(runtime_directory: Path) -> Ledger:
    """Return the ledger; like power limits, it does not survive a reboot."""
    return Ledger(runtime_directory / "ledger")


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """The agent's settings.

    Attributes:
        runtime_directory: The directory of socket and ledger.
        site: What the site allows.
        metrics_port: The loopback port for metrics; None: no metrics.
        own_group: Whether the agent's own group may use it, instead of the site's; for trials and tests.
        timing: How long to wait for GPUs.
    """

    runtime_directory: Path
    site: Site
    metrics_port: int | None = None
    own_group: bool = False
    timing: Timing = field(default_factory=Timing)


def run(driver: Driver, settings: AgentSettings) -> int:
    """Run until SIGTERM, SIGINT or SIGHUP, and return the exit code.

    Raises:
        RheostatError: When the agent cannot start.
    """
    if not driver.may_set_limits():
        logger.warning("This agent may not change power limits: it needs root or CAP_SYS_ADMIN. It only measures.")
    group = os.getgid() if settings.own_group else group_id(settings.site.group)
    if group is None:
        name = settings.site.group
        raise ConfigurationError(
            f"There is no group {name!r}; its members may use the agent.",
            hint=f"Create it (groupadd --system {name}) and let users in (usermod -aG {name} USER), or set another "
            "group in the site file.",
        )
    ledger = ledger_in(settings.runtime_directory)
    with ledger.locked(), claimed(driver, settings.runtime_directory) as ours:
        simulation = driver if isinstance(driver, SimulatedDriver) else None
        return _Daemon(ours, ledger, settings, group, simulation).run()


class _Daemon:
    def __init__(
        self,
        driver: Driver,
        ledger: Ledger,
        settings: AgentSettings,
        group: int,
        simulation: SimulatedDriver | None,
    ) -> None:
        self._stop = threading.Event()
        self._ledger = ledger
        self._repair_failure = ""
        self._reloaded: DriverReloaded | None = None
        self._settings = settings
        self._notifier = Notifier()
        self._node = Node(driver, ledger, settings.site, self._on_reload, timing=settings.timing)
        self._group = group
        self._simulation = simulation

    def _on_reload(self, error: DriverReloaded) -> None:
        self._reloaded = error
        self._stop.set()

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self._stop.set())
        self._node.start()
        server = self._serve()
        if self._settings.metrics_port is not None:
            metrics = MetricsServer(self._settings.metrics_port, self._node)
            threading.Thread(target=metrics.serve_forever, name="metrics", daemon=True).start()
            logger.info("serving metrics on http://127.0.0.1:%d/metrics", metrics.server_port)
        self._notifier.send("READY=1")
        server = self._reap(server)
        self._notifier.send("STOPPING=1")
        server.shutdown()
        server.server_close()
        if self._reloaded is not None:
            logger.error("%s The agent must be restarted.", self._reloaded)
            return EXIT_RESTART
        if not self._node.close():
            logger.error("not every limit was restored; run `rheostat agent recover`")
            return 1
        return 0

    def _serve(self) -> UnixServer:
        path = socket_path(self._settings.runtime_directory)
        api = Api(self._node, self._settings.site, self._group, self._simulation)
        server = UnixServer(path, self._group, api)
        threading.Thread(target=server.serve_forever, name="api", daemon=True).start()
        logger.info("listening on %s", path)
        return server

    def _reap(self, server: UnixServer) -> UnixServer:
        """End the leases that are over, until the agent is to stop; return the server, which may be a new one."""
        seconds = _REAP_SECONDS
        if self._notifier.watchdog_seconds is not None:
            seconds = min(seconds, self._notifier.watchdog_seconds / 4)
        while not self._stop.is_set():
            self._node.reap(seconds)
            server = self._repair(server)
            self._notifier.send("WATCHDOG=1")
        return server

    def _repair(self, server: UnixServer) -> UnixServer:
        """Make socket and ledger anew if somebody has deleted them; return the server."""
        try:
            if not self._ledger.is_intact():
                self._ledger.repair()
                logger.warning("the ledger was deleted, and is written again")
            if not server.is_reachable:
                logger.warning("the socket was deleted, and is made again")
                lost, server = server, self._serve()
                lost.shutdown()
                lost.server_close()
        except ConfigurationError as error:
            logger.error("%s This one ends.", error)
            self._stop.set()
        except (LedgerFailed, OSError) as error:
            if self._repair_failure != str(error):
                logger.error("the runtime directory was deleted and cannot be made again: %s", error)
            self._repair_failure = str(error)
        return server
