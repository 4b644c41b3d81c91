"""The agent's HTTP over its Unix socket.

The standard library's server: it gives the connected socket, from which the kernel tells who is at the other end, and
it brings no packages into a process that runs as root. A trainer asks a few times a minute, so that a thread for each
connection, of which there are few, is fast enough.
"""

import logging
import os
import re
import socket
import socketserver
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from time import monotonic_ns
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ValidationError

from rheostat.agent.answers import gpu_answer, grant_answer, limit_answer, usage_answer
from rheostat.agent.node import Node
from rheostat.agent.peer import Peer, open_owner, peer_of
from rheostat.agent.simulated import SimulatedDriver
from rheostat.agent.site import Site
from rheostat.errors import (
    AgentError,
    FieldError,
    ForeignPowerLimit,
    GpuHeld,
    GpuNotFound,
    GpuReadOnly,
    GpuUnsupported,
    InvalidInput,
    LeaseNotFound,
    NotAllowed,
    NotFound,
    RheostatError,
)
from rheostat.schemas.agent import (
    AgentHealth,
    EnergyAnswer,
    EnergyQuery,
    LeaseAnswer,
    LeaseRequest,
    NodeGpus,
    PowerLimitAnswer,
    PowerLimitRequest,
    SimulatedSteps,
    SimulatedUsage,
)
from rheostat.schemas.server import FieldProblem, Problem

logger = logging.getLogger(__name__)

B = TypeVar("B", bound=BaseModel)

_MAX_BODY_BYTES = 64 * 1024
_MAX_CONNECTIONS = 128
_SILENT_SECONDS = 30.0
# A tick comes every 0.1 s; who asks for energy up to now waits for the next one.
_TICK_WAIT_SECONDS = 1.0

_STATUS: dict[type[RheostatError], HTTPStatus] = {
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFound: HTTPStatus.NOT_FOUND,
    GpuNotFound: HTTPStatus.NOT_FOUND,
    LeaseNotFound: HTTPStatus.NOT_FOUND,
    NotAllowed: HTTPStatus.FORBIDDEN,
    GpuReadOnly: HTTPStatus.FORBIDDEN,
    GpuHeld: HTTPStatus.CONFLICT,
    ForeignPowerLimit: HTTPStatus.CONFLICT,
    GpuUnsupported: HTTPStatus.CONFLICT,
    AgentError: HTTPStatus.SERVICE_UNAVAILABLE,
}

Answer = tuple[HTTPStatus, BaseModel]


class Api:
    """The routes: what is asked of the node, by whom.

    Args:
        node: The GPUs.
        site: Who may do what.
        group: The number of the group whose members may use the agent.
        simulation: The GPUs, when they are simulated.
    """

    def __init__(self, node: Node, site: Site, group: int, simulation: SimulatedDriver | None = None) -> None:
        self._simulation = simulation
        self._node = node
        self._site = site
        self._group = group

    def authorise(self, peer: Peer) -> None:
        """Refuse who is neither an administrator nor in the group.

        Raises:
            NotAllowed: To those.
        """
        if not peer.is_admin and self._group not in peer.groups:
            raise NotAllowed(
                f"User {peer.user} may not use the agent.", hint=f"Members of the group {self._site.group} may."
            )

    def gpus(self, _request: "Request") -> Answer:
        """`GET /v1/gpus`."""
        answers = [gpu_answer(view, self._node) for view in self._node.views()]
        return HTTPStatus.OK, NodeGpus(gpus=answers)

    def make_lease(self, request: "Request") -> Answer:
        """`POST /v1/leases`."""
        body = request.read(LeaseRequest)
        for uuid in body.gpus:
            if not request.peer.is_admin and not self._site.allows_user(uuid, request.peer.user):
                raise NotAllowed(f"The site does not let user {request.peer.user} have GPU {uuid}.")
        owner, descriptor = open_owner(request.connection, request.peer, body.pid)
        lease = self._node.grant(
            body.gpus, owner, descriptor, ttl_seconds=body.ttl_seconds, job_id=body.job_id, trial_id=body.trial_id
        )
        return HTTPStatus.CREATED, grant_answer(lease)

    def set_power_limit(self, request: "Request") -> Answer:
        """`PUT /v1/leases/{lease_id}/power-limit`."""
        lease_id = self._own_lease(request)
        milliwatts = round(request.read(PowerLimitRequest).power_limit_watts * 1000)
        applied = self._node.set_power_limit(lease_id, milliwatts)
        return HTTPStatus.OK, PowerLimitAnswer(gpus=[limit_answer(one) for one in applied])

    def heartbeat(self, request: "Request") -> Answer:
        """`POST /v1/leases/{lease_id}/heartbeat`."""
        lease = self._node.lease(self._own_lease(request))
        lease.renew()
        gpus = [gpu_answer(view, self._node) for view in self._node.views() if view.description.uuid in lease.uuids]
        return HTTPStatus.OK, LeaseAnswer(lease_id=lease.terms.lease_id, expires_at=lease.expiry, gpus=gpus)

    def end_lease(self, request: "Request") -> Answer:
        """`DELETE /v1/leases/{lease_id}`."""
        lease_id = self._own_lease(request)
        uuids = self._node.end(lease_id, f"ends: user {request.peer.user} ended it")
        gpus = [gpu_answer(view, self._node) for view in self._node.views() if view.description.uuid in uuids]
        return HTTPStatus.OK, LeaseAnswer(lease_id=lease_id, expires_at=None, gpus=gpus)

    def energy(self, request: "Request") -> Answer:
        """`GET /v1/energy`."""
        query = request.query(EnergyQuery)
        until_ns = monotonic_ns() if query.until_ns is None else query.until_ns
        uuids = query.gpu or [view.description.uuid for view in self._node.views()]
        usages = []
        for uuid in uuids:
            leased = self._node.lease_of(uuid) is not None
            usage = self._node.usage(uuid, query.since_ns, until_ns, _TICK_WAIT_SECONDS if leased else 0.0)
            usages.append(usage_answer(uuid, usage))
        return HTTPStatus.OK, EnergyAnswer(since_ns=query.since_ns, until_ns=until_ns, gpus=usages)

    def quiesce(self, request: "Request") -> Answer:
        """`POST /v1/quiesce`; for administrators."""
        self._administrators_only(request)
        self._node.quiesce()
        return self.gpus(request)

    def resume(self, request: "Request") -> Answer:
        """`POST /v1/resume`; for administrators."""
        self._administrators_only(request)
        self._node.resume()
        return self.gpus(request)

    def simulate_steps(self, request: "Request") -> Answer:
        """`POST /v1/simulated-steps`; on simulated GPUs alone."""
        body = request.read(SimulatedSteps)
        if self._simulation is None:
            raise NotFound("The GPUs of this agent are real.", hint="Start one with --simulate.")
        device = self._simulation.device(body.gpu)
        seconds, joules = device.step(body.batch_size, body.steps)
        limit_watts = device.power_limit_milliwatts() / 1000
        return HTTPStatus.OK, SimulatedUsage(
            gpu=body.gpu, power_limit_watts=limit_watts, time_seconds=seconds, energy_joules=joules
        )

    def health(self, _request: "Request") -> Answer:
        """`GET /healthz`: the agent answers; what is wrong with GPUs is told, and does not make it unhealthy."""
        return HTTPStatus.OK, AgentHealth(status="ok", problems=self._node.problems())

    def readiness(self, _request: "Request") -> Answer:
        """`GET /readyz`: everything that leases may ask for can be done."""
        problems = self._node.problems()
        if problems:
            return HTTPStatus.SERVICE_UNAVAILABLE, AgentHealth(status="not_ready", problems=problems)
        return HTTPStatus.OK, AgentHealth(status="ok", problems=[])

    def _own_lease(self, request: "Request") -> str:
        lease = self._node.lease(request.parts[0])
        if not request.peer.is_admin and request.peer.uid != lease.terms.owner.uid:
            raise NotAllowed(f"The lease {lease.terms.lease_id} is another user's.")
        return lease.terms.lease_id

    def _administrators_only(self, request: "Request") -> None:
        if not request.peer.is_admin:
            raise NotAllowed("Only an administrator may do that.")


Route = Callable[[Api, "Request"], Answer]

_ROUTES: list[tuple[str, re.Pattern[str], Route]] = [
    ("GET", re.compile("/v1/gpus"), Api.gpus),
    ("POST", re.compile("/v1/leases"), Api.make_lease),
    ("PUT", re.compile("/v1/leases/([^/]+)/power-limit"), Api.set_power_limit),
    ("POST", re.compile("/v1/leases/([^/]+)/heartbeat"), Api.heartbeat),
    ("DELETE", re.compile("/v1/leases/([^/]+)"), Api.end_lease),
    ("GET", re.compile("/v1/energy"), Api.energy),
    ("POST", re.compile("/v1/quiesce"), Api.quiesce),
    ("POST", re.compile("/v1/resume"), Api.resume),
    ("POST", re.compile("/v1/simulated-steps"), Api.simulate_steps),
    ("GET", re.compile("/healthz"), Api.health),
    ("GET", re.compile("/readyz"), Api.readiness),
]


class Request:
    """What is asked, and by whom."""

    def __init__(self, connection: socket.socket, peer: Peer, parts: tuple[str, ...], query: str, body: bytes) -> None:
        self.connection = connection
        self.peer = peer
        self.parts = parts
        self._query = query
        self._body = body

    def read(self, model: type[B]) -> B:
        """Read the body.

        Raises:
            InvalidInput: When it is wrong; `fields` has every mistake.
        """
        try:
            return model.model_validate_json(self._body)
        except ValidationError as error:
            raise _invalid(error) from None

    def query(self, model: type[B]) -> B:
        """Read the query; a name may come several times.

        Raises:
            InvalidInput: When it is wrong; `fields` has every mistake.
        """
        values = parse_qs(self._query, keep_blank_values=True)
        flat = {name: found if name == "gpu" else found[-1] for name, found in values.items()}
        try:
            return model.model_validate(flat, strict=False)  # all of it is text
        except ValidationError as error:
            raise _invalid(error) from None


def _invalid(error: ValidationError) -> InvalidInput:
    fields = [FieldError(".".join(map(str, mistake["loc"])), mistake["msg"]) for mistake in error.errors()]
    told = "; ".join(f"{field.field}: {field.message}".removeprefix(": ") for field in fields)
    return InvalidInput(f"The request is wrong: {told}.", fields=fields)


class _Handler(BaseHTTPRequestHandler):
    server: "UnixServer"
    protocol_version = "HTTP/1.1"
    timeout = _SILENT_SECONDS

    def _handle(self) -> None:
        try:
            status, answer = self._answer()
        except RheostatError as error:
            status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), None) or (
                HTTPStatus.INTERNAL_SERVER_ERROR
            )
            answer = _problem(error, status)
        except Exception:
            logger.exception("%s %s failed", self.command, self.path)
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            answer = _problem(RheostatError("The agent failed.", hint="Its log says how."), status)
        self._send(status, answer)

    def _answer(self) -> Answer:
        body = self._read_body()
        peer = peer_of(self.connection)
        self.server.api.authorise(peer)
        url = urlsplit(self.path)
        others = set()
        for method, pattern, route in _ROUTES:
            if (match := pattern.fullmatch(url.path)) is None:
                continue
            if method == self.command:
                return route(self.server.api, Request(self.connection, peer, match.groups(), url.query, body))
            others.add(method)
        if others:
            raise InvalidInput(f"{url.path} takes {' or '.join(sorted(others))}, not {self.command}.")
        raise NotFound(f"There is nothing at {url.path}.")

    def _read_body(self) -> bytes:
        text = self.headers.get("Content-Length", "0")
        if self.headers.get("Transfer-Encoding") or not text.isdecimal() or int(text) > _MAX_BODY_BYTES:
            self.close_connection = True  # what follows cannot be told from the next request
            raise InvalidInput(f"A body needs a Content-Length of at most {_MAX_BODY_BYTES} bytes.")
        return self.rfile.read(int(text))

    def _send(self, status: HTTPStatus, answer: BaseModel) -> None:
        content = answer.model_dump_json().encode()
        self.send_response(status)
        kind = "application/problem+json" if isinstance(answer, Problem) else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        logger.debug(format, *args)

    def address_string(self) -> str:
        return "the socket"


def _problem(error: RheostatError, status: HTTPStatus) -> Problem:
    return Problem(
        type="about:blank",
        title=status.phrase,
        status=status,
        detail=error.message,
        code=error.code,
        retryable=error.retryable,
        hint=error.hint,
        fields=[FieldProblem(field=field.field, message=field.message) for field in error.fields],
    )


class UnixServer(socketserver.ThreadingUnixStreamServer):
    """Listens on the socket.

    Args:
        path: Where the socket is; one that a dead agent left is replaced.
        group: The number of the group that may connect.
        api: The routes.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = _MAX_CONNECTIONS

    def __init__(self, path: Path, group: int, api: Api) -> None:
        self.api = api
        self._path = path
        self._room = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        # Nobody may connect before the mode and the group are right.
        before = os.umask(0o177)
        try:
            super().__init__(str(path), _Handler)
        finally:
            os.umask(before)
        os.chown(path, -1, group)
        path.chmod(0o660)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection on a thread of its own, as long as there are not too many."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of ours."""
        logger.debug("a connection broke", exc_info=True)

    def server_close(self) -> None:
        """Stop listening, and leave no socket behind."""
        super().server_close()
        self._path.unlink(missing_ok=True)
