"""A node and its API in this process, over the fake GPUs, with short waits."""

import os
import subprocess
import threading
from pathlib import Path
from typing import Any

from rheostat.agent.api import Api
from rheostat.agent.ledger import Ledger
from rheostat.agent.node import Node
from rheostat.agent.nvml import NvmlDriver
from rheostat.agent.peer import Peer, open_owner
from rheostat.agent.records import Owner, Terms
from rheostat.agent.site import Site
from rheostat.agent.states import GuardState
from rheostat.agent.unix_server import UnixServer
from rheostat.agent.worker import Timing
from rheostat.errors import DriverReloaded
from tests.agent.agents import ask
from tests.nvml.fake import Call, FakeNvml
from tests.waiting import eventually

CHECK_SECONDS = 0.02


class Clock:
    """A clock in seconds that only moves when a test moves it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Bench:
    """A node, its ledger, and processes that hold leases.

    Attributes:
        clock: The clock of the leases.
        timing: How long the node waits; may be changed while it runs.
    """

    def __init__(self, fake: FakeNvml, directory: Path, site: Site) -> None:
        self.fake = fake
        self.ledger = Ledger(directory)
        with self.ledger.locked():
            pass
        self.reloads: list[DriverReloaded] = []
        self.site = site
        self.clock = Clock()
        self.timing = Timing(check_seconds=CHECK_SECONDS, missing_seconds=0.02)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.node = self.start()

    def start(self) -> Node:
        self.node = Node(
            NvmlDriver(), self.ledger, self.site, self.reloads.append, timing=self.timing, clock=self.clock
        )
        self.node.start()
        return self.node

    def kill(self) -> None:
        """Stop the node without restoring anything, as SIGKILL would."""
        self.node.stop()
        self.timing.deadline_seconds = 0  # it has nothing to wait for when it is closed

    def process(self) -> tuple[Owner, int]:
        """Start a process that lives until the test ends it."""
        process = subprocess.Popen(["sleep", "60"])
        self.processes.append(process)
        return open_owner(None, Peer(process.pid, os.getuid(), frozenset()), None)

    def lease(self, *gpus: int, ttl_seconds: float = 60) -> str:
        """Lease GPUs to a new process."""
        owner, descriptor = self.process()
        uuids = [self.fake.gpus[index].uuid for index in gpus or (0,)]
        lease = self.node.grant(uuids, owner, descriptor, ttl_seconds=ttl_seconds, job_id="nightly", trial_id=None)
        return lease.terms.lease_id

    def exited_terms(self) -> Terms:
        """Return the terms of a lease whose owner has exited."""
        return Terms("f00d", Owner(2**22, 1, 0), 60.0)

    def state(self, gpu: int = 0) -> GuardState:
        return self.node.statuses()[gpu].state

    def limits(self) -> list[float]:
        return [gpu.limit_watts for gpu in self.fake.gpus]

    def wait_checks(self, gpu: int = 0, count: int = 3) -> None:
        """Wait until the node has checked a GPU's limit a few times."""
        calls = self.fake.gpus[gpu].state.calls
        until = calls[Call.GET_LIMIT] + count
        eventually(lambda: calls[Call.GET_LIMIT] >= until)

    def close(self) -> None:
        for gpu in self.fake.gpus:
            gpu.heal()
        self.fake.world.driver_reloaded = 0
        self.node.close()
        for process in self.processes:
            process.kill()
            process.wait()


class Served:
    """The API of a node in this process, on a socket."""

    def __init__(self, bench: Bench, directory: Path) -> None:
        self.bench = bench
        self.gpus = bench.fake.gpus
        self.socket = directory / "agent.sock"
        self.server = UnixServer(self.socket, os.getgid(), Api(bench.node, bench.site, os.getgid()))
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def ask(self, method: str, target: str, body: object = None) -> Any:
        return ask(self.socket, method, target, body)

    def lease(self, *gpus: int, **body: object) -> str:
        """Lease GPUs to this process."""
        grant = self.ask("POST", "/v1/leases", {"gpus": [self.gpus[index].uuid for index in gpus or (0,)], **body})
        return str(grant["lease_id"])

    def limit(self, lease: str, watts: float) -> Any:
        return self.ask("PUT", f"/v1/leases/{lease}/power-limit", {"power_limit_watts": watts})["gpus"]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()
