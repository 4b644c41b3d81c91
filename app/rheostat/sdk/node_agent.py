"""The client of the node agent: one method for each of its routes, over its Unix socket."""

import os
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from rheostat.schemas.agent import (
    DEFAULT_DIRECTORY,
    DIRECTORY_VARIABLE,
    SOCKET_NAME,
    EnergyAnswer,
    LeaseAnswer,
    LeaseGrant,
    LeaseRequest,
    NodeGpu,
    NodeGpus,
    PowerLimitAnswer,
    PowerLimitRequest,
    SimulatedSteps,
    SimulatedUsage,
)
from rheostat.sdk.transport import Transport
from rheostat.unix_http import UnixConnection

# The agent itself gives up on a GPU that hangs after 5 s, and undoes the others' limits then.
_TIMEOUT_SECONDS = 15.0
_LARGEST_ANSWER_BYTES = 2**20


class _UnixTransport(httpx.BaseTransport):
    """A connection for each request: it is close by, and nothing is left open in a process that forks."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Ask and read the whole answer."""
        with closing(UnixConnection(self._socket, _TIMEOUT_SECONDS)) as connection:
            try:
                target = request.url.raw_path.decode()
                connection.request(request.method, target, request.read(), dict(request.headers))
                response = connection.getresponse()
                return httpx.Response(response.status, content=response.read(_LARGEST_ANSWER_BYTES))
            except TimeoutError as error:
                raise httpx.ReadTimeout("the agent takes too long") from error
            except (OSError, HTTPException) as error:
                raise httpx.ConnectError(str(error) or type(error).__name__) from error


class NodeAgent:
    """Talks to the agent of this node; safe to share between threads. Every try is one try: it is on this machine.

    Args:
        socket: Its socket; by default ``agent.sock`` in ``RHEOSTAT_AGENT_DIR``, else in ``/run/rheostat``.
    """

    def __init__(self, socket: Path | None = None) -> None:
        directory = os.environ.get(DIRECTORY_VARIABLE)
        self.is_named = socket is not None or directory is not None
        self.socket = Path(directory or DEFAULT_DIRECTORY) / SOCKET_NAME if socket is None else socket
        self._transport = Transport(
            httpx.Client(base_url="http://agent", transport=_UnixTransport(self.socket)),
            timeout_seconds=_TIMEOUT_SECONDS,
            retry_for_seconds=0.0,
            unreachable_hint=f"Is `rheostat agent` running, and is {self.socket} its socket?",
            garbage_hint=f"Is it a Rheostat agent of this version that listens on {self.socket}?",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; leases go on."""
        self._transport.close()

    def gpus(self) -> list[NodeGpu]:
        """Return how the GPUs of this node stand."""
        return self._transport.ask(NodeGpus, "GET", "/v1/gpus").gpus

    def lease(self, request: LeaseRequest) -> LeaseGrant:
        """Lease GPUs, all or none, until this process ends."""
        return self._transport.ask(LeaseGrant, "POST", "/v1/leases", request)

    def set_power_limit(self, lease_id: str, power_limit_watts: float) -> PowerLimitAnswer:
        """Limit the GPUs of a lease, all or none; the answer says what came of it."""
        body = PowerLimitRequest(power_limit_watts=power_limit_watts)
        return self._transport.ask(PowerLimitAnswer, "PUT", f"/v1/leases/{lease_id}/power-limit", body)

    def heartbeat(self, lease_id: str) -> LeaseAnswer:
        """Keep a lease."""
        return self._transport.ask(LeaseAnswer, "POST", f"/v1/leases/{lease_id}/heartbeat")

    def end_lease(self, lease_id: str) -> LeaseAnswer:
        """End a lease; the limits found are back when this returns, unless a GPU hangs."""
        return self._transport.ask(LeaseAnswer, "DELETE", f"/v1/leases/{lease_id}")

    def energy(self, gpus: list[str], since_ns: int | None = None, until_ns: int | None = None) -> EnergyAnswer:
        """Return what GPUs used between two moments of :func:`time.monotonic_ns`; see the agent's `EnergyAnswer`."""
        parameters = {"gpu": gpus, "since_ns": since_ns, "until_ns": until_ns}
        return self._transport.ask(EnergyAnswer, "GET", "/v1/energy", parameters=parameters)

    def simulate_steps(self, steps: SimulatedSteps) -> SimulatedUsage:
        """Let a simulated GPU run training steps, at once in its own time."""
        return self._transport.ask(SimulatedUsage, "POST", "/v1/simulated-steps", steps)
