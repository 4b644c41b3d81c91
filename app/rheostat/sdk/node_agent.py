"""The client of the node agent, over its Unix socket."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from rheostat.errors import ServerUnreachable
from rheostat.schemas.agent import (
    DEFAULT_DIRECTORY,
    DIRECTORY_VARIABLE,
    SOCKET_NAME,
    AgentHealth,
    AppliedLimits,
    EnergyAnswer,
    LeaseAnswer,
    LeaseGrant,
    LeaseRequest,
    NodeGpu,
    NodeGpus,
    PowerLimitRequest,
    SimulatedSteps,
    SimulatedUsage,
)
from rheostat.schemas.fields import Body
from rheostat.sdk.exchange import AnswerT, HttpRequest, UnixExchange
from rheostat.sdk.transport import Transport, as_json

# The agent gives up on a GPU that hangs after 5 s, and restores the others' limits then.
_TIMEOUT_SECONDS = 15.0
# What changes nothing takes milliseconds, unless the agent is stopped.
_READ_SECONDS = 3.0
ENERGY_SECONDS = 1.0
_NO_AGENT_HINT = "Start one as root: rheostat agent (rheostat doctor says what is missing)."


class NodeAgent:
    """Client of the agent of this node: one method for each route; safe to share between threads. It does not retry.

    Args:
        socket: Its socket; by default ``agent.sock`` in ``RHEOSTAT_AGENT_DIR``, else in ``/run/rheostat``.
    """

    def __init__(self, socket: Path | None = None) -> None:
        self._arguments = (socket,)
        directory = os.environ.get(DIRECTORY_VARIABLE)
        self.is_named = socket is not None or bool(directory)
        self.socket = Path(directory or DEFAULT_DIRECTORY) / SOCKET_NAME if socket is None else socket
        self._transport = Transport(
            UnixExchange(self.socket, "http://agent"),
            timeout_seconds=_TIMEOUT_SECONDS,
            retry_for_seconds=0.0,
            unreachable_hint=f"Is `rheostat agent` running as root here, and is {self.socket} its socket?",
            garbage_hint=f"Is it a Rheostat agent of this version that listens on {self.socket}?",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the arguments: connections stay in the process that opened them."""
        return type(self), self._arguments

    def close(self) -> None:
        """Close the connections; leases go on."""
        self._transport.close()

    @property
    def has_socket(self) -> bool:
        """Whether there is a socket, as an agent that runs, or ended by SIGKILL, has one."""
        try:
            return self.socket.exists()
        except OSError:  # its directory may not be searched
            return False

    def gpus(self) -> list[NodeGpu]:
        """Return the GPUs of this node, with the state of each."""
        return self.node_gpus().gpus

    def node_gpus(self) -> NodeGpus:
        """Return the GPUs of this node, and which of them this process may use."""
        return self._send("GET", "/v1/gpus", NodeGpus, within_seconds=_READ_SECONDS)

    def problems(self) -> list[str]:
        """Return what keeps the agent from doing all that leases may ask for; nothing when it is ready."""
        return self._send("GET", "/healthz", AgentHealth, within_seconds=_READ_SECONDS).problems

    def lease(self, request: LeaseRequest) -> LeaseGrant:
        """Lease GPUs, all or none, until this process ends."""
        return self._send("POST", "/v1/leases", LeaseGrant, request)

    def set_power_limit(self, lease_id: str, power_limit_watts: float) -> AppliedLimits:
        """Limit the GPUs of a lease, all or none; the answer has the limits that are in force."""
        body = PowerLimitRequest(power_limit_watts=power_limit_watts)
        return self._send("PUT", f"/v1/leases/{lease_id}/power-limit", AppliedLimits, body)

    def restore_power_limits(self, lease_id: str) -> LeaseAnswer:
        """Restore the limits that were found on the GPUs of a lease, which goes on."""
        return self._send("DELETE", f"/v1/leases/{lease_id}/power-limit", LeaseAnswer)

    def heartbeat(self, lease_id: str) -> LeaseAnswer:
        """Renew a lease."""
        path = f"/v1/leases/{lease_id}/heartbeat"
        return self._send("POST", path, LeaseAnswer, within_seconds=_READ_SECONDS)

    def end_lease(self, lease_id: str, within_seconds: float | None = None) -> LeaseAnswer:
        """End a lease; the limits found are restored when this returns, unless a GPU hangs."""
        return self._send("DELETE", f"/v1/leases/{lease_id}", LeaseAnswer, within_seconds=within_seconds)

    def energy(
        self,
        gpus: list[str],
        since_ns: int | None = None,
        until_ns: int | None = None,
        *,
        within_seconds: float = _READ_SECONDS,
    ) -> EnergyAnswer:
        """Return what GPUs used between two moments of :func:`time.monotonic_ns`; see the agent's `EnergyAnswer`."""
        query = {"gpu": gpus, "since_ns": since_ns, "until_ns": until_ns}
        return self._send("GET", "/v1/energy", EnergyAnswer, query=query, within_seconds=within_seconds)

    def simulate_steps(self, steps: SimulatedSteps) -> SimulatedUsage:
        """Run training steps on a simulated GPU, at once in its own time."""
        return self._send("POST", "/v1/simulated-steps", SimulatedUsage, steps)

    def _send(
        self,
        method: str,
        path: str,
        answer: type[AnswerT],
        body: Body | None = None,
        *,
        query: Mapping[str, list[str] | int | None] | None = None,
        within_seconds: float | None = None,
    ) -> AnswerT:
        if not self.has_socket:
            raise ServerUnreachable(f"There is no agent socket at {self.socket}.", hint=_NO_AGENT_HINT)
        content = None if body is None else as_json(body)
        request = HttpRequest(method, path, answer, content, parameters=query or {})
        return self._transport.send(request, within_seconds=within_seconds)
