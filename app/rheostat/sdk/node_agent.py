"""The client of the node agent, over its Unix socket."""

import os
from pathlib import Path
from typing import Self

import httpx

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
from rheostat.sdk.transport import AnswerT, HttpRequest, Transport, as_json

# The agent gives up on a GPU that hangs after 5 s, and restores the others' limits then.
_TIMEOUT_SECONDS = 15.0


class NodeAgent:
    """Client of the agent of this node: one method for each route; safe to share between threads. It does not retry.

    Args:
        socket: Its socket; by default ``agent.sock`` in ``RHEOSTAT_AGENT_DIR``, else in ``/run/rheostat``.
    """

    def __init__(self, socket: Path | None = None) -> None:
        directory = os.environ.get(DIRECTORY_VARIABLE)
        self.is_named = socket is not None or directory is not None
        self.socket = Path(directory or DEFAULT_DIRECTORY) / SOCKET_NAME if socket is None else socket
        transport = httpx.HTTPTransport(
            uds=str(self.socket),
            # A connection for each request: none is left open in a process that forks.
            limits=httpx.Limits(max_keepalive_connections=0),
            # No TLS here; a certificate setting of the environment that is wrong must not matter.
            verify=False,
            trust_env=False,
        )
        self._hint = f"Is `rheostat agent` running, and is {self.socket} its socket?"
        self._transport = Transport(
            httpx.Client(base_url="http://agent", transport=transport, timeout=_TIMEOUT_SECONDS, trust_env=False),
            timeout_seconds=_TIMEOUT_SECONDS,
            retry_for_seconds=0.0,
            unreachable_hint=self._hint,
            garbage_hint=f"Is it a Rheostat agent of this version that listens on {self.socket}?",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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
        return self._send("GET", "/v1/gpus", NodeGpus).gpus

    def problems(self) -> list[str]:
        """Return what keeps the agent from doing all that leases may ask for; nothing when it is ready."""
        return self._send("GET", "/healthz", AgentHealth).problems

    def lease(self, request: LeaseRequest) -> LeaseGrant:
        """Lease GPUs, all or none, until this process ends."""
        return self._send("POST", "/v1/leases", LeaseGrant, request)

    def set_power_limit(self, lease_id: str, power_limit_watts: float) -> AppliedLimits:
        """Limit the GPUs of a lease, all or none; the answer has the limits that are in force."""
        body = PowerLimitRequest(power_limit_watts=power_limit_watts)
        return self._send("PUT", f"/v1/leases/{lease_id}/power-limit", AppliedLimits, body)

    def heartbeat(self, lease_id: str) -> LeaseAnswer:
        """Renew a lease."""
        return self._send("POST", f"/v1/leases/{lease_id}/heartbeat", LeaseAnswer)

    def end_lease(self, lease_id: str) -> LeaseAnswer:
        """End a lease; the limits found are restored when this returns, unless a GPU hangs."""
        return self._send("DELETE", f"/v1/leases/{lease_id}", LeaseAnswer)

    def energy(self, gpus: list[str], since_ns: int | None = None, until_ns: int | None = None) -> EnergyAnswer:
        """Return what GPUs used between two moments of :func:`time.monotonic_ns`; see the agent's `EnergyAnswer`."""
        return self._send("GET", "/v1/energy", EnergyAnswer, gpu=gpus, since_ns=since_ns, until_ns=until_ns)

    def simulate_steps(self, steps: SimulatedSteps) -> SimulatedUsage:
        """Run training steps on a simulated GPU, at once in its own time."""
        return self._send("POST", "/v1/simulated-steps", SimulatedUsage, steps)

    def _send(
        self, method: str, path: str, answer: type[AnswerT], body: Body | None = None, **query: list[str] | int | None
    ) -> AnswerT:
        if not self.has_socket:
            raise ServerUnreachable(f"There is no agent socket at {self.socket}.", hint=self._hint)
        content = None if body is None else as_json(body)
        return self._transport.send(HttpRequest(method, path, answer, content, parameters=query))
