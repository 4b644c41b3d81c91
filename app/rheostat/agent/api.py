"""The agent's HTTP API: its routes, and the answer to each request; `unix_server.py` serves it."""

import logging
import re
import socket
from collections.abc import Callable
from http import HTTPStatus
from time import monotonic_ns
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ValidationError

from rheostat import __version__
from rheostat.agent.node import Node
from rheostat.agent.peer import Peer, open_owner
from rheostat.agent.simulated import SimulatedDriver
from rheostat.agent.site import Site
from rheostat.agent.visible import Visible, visible_to
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
    AppliedLimits,
    EnergyAnswer,
    EnergyQuery,
    LeaseAnswer,
    LeaseRequest,
    NodeGpus,
    PowerLimitRequest,
    SimulatedSteps,
    SimulatedUsage,
)
from rheostat.schemas.operations import FieldProblem, Problem

logger = logging.getLogger(__name__)

B = TypeVar("B", bound=BaseModel)


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

Response = tuple[HTTPStatus, BaseModel]


class Api:
    """The routes.

    Args:
        node: The GPUs.
        site: What the site allows.
        group: The id of the group whose members may use the agent.
        simulation: The driver of the GPUs, when they are simulated.
    """

    def __init__(self, node: Node, site: Site, group: int, simulation: SimulatedDriver | None = None) -> None:
        self._simulation = simulation
        self._node = node
        self._site = site
        self._group = group

    def authorise(self, peer: Peer) -> None:
        """Check that the peer is an administrator or a member of the group.

        Raises:
            NotAllowed: When it is neither.
        """
        if not peer.is_admin and self._group not in peer.groups:
            group = self._site.group
            raise NotAllowed(
                f"User {peer.user} is not allowed to use the agent.",
                hint=f"Join the group {group}, and log in again: sudo usermod -aG {group} {peer.user}",
            )

    def gpus(self, request: "Request") -> Response:
        """`GET /v1/gpus`."""
        visible = self._visible_to(request.peer)
        numbered = None if visible.numbered is None else list(visible.numbered)
        return HTTPStatus.OK, NodeGpus(
            gpus=self._node.to_wire(),
            visible=numbered,
            visible_by=visible.by,
            version=__version__,
            problems=self._node.problems(),
        )

    def _visible_to(self, peer: Peer) -> Visible:
        descriptions = [status.description for status in self._node.statuses()]
        if self._simulation is not None:
            uuids = tuple(gpu.uuid for gpu in descriptions)
            return Visible(uuids, frozenset(uuids), "the GPUs are simulated")
        return visible_to(peer.pid, descriptions, all_found=not self._node.has_unresponsive())

    def make_lease(self, request: "Request") -> Response:
        """`POST /v1/leases`."""
        body = request.read(LeaseRequest)
        for uuid in body.gpus:
            if not request.peer.is_admin and not self._site.allows_user(uuid, request.peer.user):
                raise NotAllowed(f"The site file does not allow user {request.peer.user} to lease GPU {uuid}.")
        self._check_visible(request.peer, body.gpus)
        owner, descriptor = open_owner(request.connection, request.peer, body.pid)
        lease = self._node.grant(
            body.gpus, owner, descriptor, ttl_seconds=body.ttl_seconds, job_id=body.job_id, trial_id=body.trial_id
        )
        return HTTPStatus.CREATED, lease.to_wire()

    def _check_visible(self, peer: Peer, uuids: list[str]) -> None:
        """Check that GPUs may be those of the peer, whoever it is: another container's are never limited for it.

        Raises:
            NotAllowed: When one is known not to be.
        """
        visible = self._visible_to(peer)
        known = {status.uuid for status in self._node.statuses()}
        for uuid in uuids:
            if uuid in known - visible.allowed:
                own = ", ".join(sorted(visible.allowed)) or "none"
                raise NotAllowed(
                    f"GPU {uuid} is not one of your process's: {own} (by {visible.by}).",
                    hint="Inside a container or a job GPUs have numbers of their own; GET /v1/gpus names yours.",
                )

    def set_power_limit(self, request: "Request") -> Response:
        """`PUT /v1/leases/{lease_id}/power-limit`."""
        lease_id = self._own_lease(request)
        milliwatts = round(request.read(PowerLimitRequest).power_limit_watts * 1000)
        return HTTPStatus.OK, AppliedLimits(gpus=self._node.set_power_limit(lease_id, milliwatts))

    def restore_power_limits(self, request: "Request") -> Response:
        """`DELETE /v1/leases/{lease_id}/power-limit`: the limits found are restored, and the lease goes on."""
        self._node.restore_power_limits(self._own_lease(request))
        return self.heartbeat(request)

    def heartbeat(self, request: "Request") -> Response:
        """`POST /v1/leases/{lease_id}/heartbeat`."""
        lease = self._node.lease(self._own_lease(request))
        lease.renew()
        gpus = self._node.to_wire(lease.uuids)
        return HTTPStatus.OK, LeaseAnswer(lease_id=lease.terms.lease_id, expires_at=lease.expiry, gpus=gpus)

    def end_lease(self, request: "Request") -> Response:
        """`DELETE /v1/leases/{lease_id}`."""
        lease_id = self._own_lease(request)
        uuids = self._node.end(lease_id, f"ends: user {request.peer.user} ended it")
        return HTTPStatus.OK, LeaseAnswer(lease_id=lease_id, expires_at=None, gpus=self._node.to_wire(uuids))

    def energy(self, request: "Request") -> Response:
        """`GET /v1/energy`."""
        query = request.query(EnergyQuery)
        until_ns = monotonic_ns() if query.until_ns is None else query.until_ns
        uuids = query.gpu or [status.uuid for status in self._node.statuses()]
        usages = self._node.usages(uuids, query.since_ns, until_ns)
        return HTTPStatus.OK, EnergyAnswer(since_ns=query.since_ns, until_ns=until_ns, gpus=usages)

    def quiesce(self, request: "Request") -> Response:
        """`POST /v1/quiesce`; for administrators."""
        self._administrators_only(request)
        self._node.quiesce()
        return self.gpus(request)

    def resume(self, request: "Request") -> Response:
        """`POST /v1/resume`; for administrators."""
        self._administrators_only(request)
        self._node.resume()
        return self.gpus(request)

    def simulate_steps(self, request: "Request") -> Response:
        """`POST /v1/simulated-steps`; for simulated GPUs only."""
        body = request.read(SimulatedSteps)
        if self._simulation is None:
            raise NotFound("The GPUs of this agent are real.", hint="Start an agent with --simulate.")
        device = self._simulation.device(body.gpu)
        seconds, joules = device.step(body.batch_size, body.steps)
        limit_watts = device.power_limit_milliwatts() / 1000
        return HTTPStatus.OK, SimulatedUsage(
            gpu=body.gpu, power_limit_watts=limit_watts, time_seconds=seconds, energy_joules=joules
        )

    def health(self, _request: "Request") -> Response:
        """`GET /healthz`: the agent is running; problems of GPUs are listed, but do not make it unhealthy."""
        return HTTPStatus.OK, AgentHealth(status="ok", problems=self._node.problems())

    def readiness(self, _request: "Request") -> Response:
        """`GET /readyz`: the agent can do everything that leases request."""
        problems = self._node.problems()
        if problems:
            return HTTPStatus.SERVICE_UNAVAILABLE, AgentHealth(status="not_ready", problems=problems)
        return HTTPStatus.OK, AgentHealth(status="ok", problems=[])

    def respond(self, method: str, target: str, connection: socket.socket, peer: Peer, body: bytes) -> Response:
        """Answer a request, whatever comes of it."""
        try:
            self.authorise(peer)
            url = urlsplit(target)
            route, parts = _route(method, url.path)
            return route(self, Request(connection, peer, parts, url.query, body))
        except RheostatError as error:
            return self.refusal(error)
        except Exception:
            logger.exception("%s %s failed", method, target)
            return self.refusal(RheostatError("Internal error of the agent.", hint="See the agent's log."))

    def refusal(self, error: RheostatError) -> Response:
        """Return the answer that reports an error."""
        status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), None) or (
            HTTPStatus.INTERNAL_SERVER_ERROR
        )
        return status, _problem(error, status)

    def _own_lease(self, request: "Request") -> str:
        lease = self._node.lease(request.parts[0])
        if not request.peer.is_admin and request.peer.uid != lease.terms.owner.uid:
            raise NotAllowed(f"Lease {lease.terms.lease_id} belongs to another user.")
        return lease.terms.lease_id

    def _administrators_only(self, request: "Request") -> None:
        if not request.peer.is_admin:
            raise NotAllowed("Only an administrator is allowed to do that.")


Route = Callable[[Api, "Request"], Response]

_ROUTES: list[tuple[str, re.Pattern[str], Route]] = [
    ("GET", re.compile("/v1/gpus"), Api.gpus),
    ("POST", re.compile("/v1/leases"), Api.make_lease),
    ("PUT", re.compile("/v1/leases/([^/]+)/power-limit"), Api.set_power_limit),
    ("DELETE", re.compile("/v1/leases/([^/]+)/power-limit"), Api.restore_power_limits),
    ("POST", re.compile("/v1/leases/([^/]+)/heartbeat"), Api.heartbeat),
    ("DELETE", re.compile("/v1/leases/([^/]+)"), Api.end_lease),
    ("GET", re.compile("/v1/energy"), Api.energy),
    ("POST", re.compile("/v1/quiesce"), Api.quiesce),
    ("POST", re.compile("/v1/resume"), Api.resume),
    ("POST", re.compile("/v1/simulated-steps"), Api.simulate_steps),
    ("GET", re.compile("/healthz"), Api.health),
    ("GET", re.compile("/readyz"), Api.readiness),
]


def _route(method: str, path: str) -> tuple[Route, tuple[str, ...]]:
    others = set()
    for one, pattern, route in _ROUTES:
        if (match := pattern.fullmatch(path)) is None:
            continue
        if one == method:
            return route, match.groups()
        others.add(one)
    if others:
        raise InvalidInput(f"{path} accepts {' or '.join(sorted(others))}, not {method}.")
    raise NotFound(f"There is no {path}.")


class Request:
    """A request and the process that sent it."""

    def __init__(self, connection: socket.socket, peer: Peer, parts: tuple[str, ...], query: str, body: bytes) -> None:
        self.connection = connection
        self.peer = peer
        self.parts = parts
        self._query = query
        self._body = body

    def read(self, model: type[B]) -> B:
        """Parse the body.

        Raises:
            InvalidInput: When it is invalid; `fields` has every invalid field.
        """
        try:
            return model.model_validate_json(self._body)
        except ValidationError as error:
            raise _invalid(error) from None

    def query(self, model: type[B]) -> B:
        """Parse the query; a name may occur several times.

        Raises:
            InvalidInput: When it is invalid; `fields` has every invalid field.
        """
        values = parse_qs(self._query, keep_blank_values=True)
        flat = {name: found if name == "gpu" else found[-1] for name, found in values.items()}
        try:
            return model.model_validate(flat, strict=False)  # all values are text
        except ValidationError as error:
            raise _invalid(error) from None


def _invalid(error: ValidationError) -> InvalidInput:
    fields = [FieldError(".".join(map(str, problem["loc"])), problem["msg"]) for problem in error.errors()]
    listed = "; ".join(f"{field.field}: {field.message}".removeprefix(": ") for field in fields)
    return InvalidInput(f"The request is invalid: {listed}.", fields=fields)


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
