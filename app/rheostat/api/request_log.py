"""The middleware that sees every answer: each request has an id, a log line, its metrics, and headers for browsers."""

import logging
import random
import re
from time import perf_counter

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars
from structlog.typing import FilteringBoundLogger

from rheostat.api import problems
from rheostat.api.metrics import Metrics
from rheostat.api.paths import PROBES, client_of, header, path_of, route_of
from rheostat.api.request_record import RequestRecord
from rheostat.api.security_headers import completed
from rheostat.service import Event, PolicyFailureTolerated, TrialEnded, TrialStarted
from rheostat.service.identity import Identity

REQUEST_ID_HEADER = "X-Request-ID"
_REQUEST_ID_HEADER = REQUEST_ID_HEADER.lower().encode()

_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_MAX_LOGGED_LENGTH = 300  # of what callers choose
_SERVER_ERROR = 500
_CLIENT_ERROR = 400

_log = logging.getLogger(__name__)
_requests: FilteringBoundLogger = structlog.get_logger()


class RequestLog:
    """Logs and counts each request once, and answers those whose handling raised an unexpected exception.

    A request that carries an ``X-Request-ID`` keeps it; the others get one. It is in the answer and in every log line
    that the request causes.

    Args:
        app: The next application.
        metrics: Where requests are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log and count it once it has been answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = header(scope, _REQUEST_ID_HEADER) or ""
        record = RequestRecord(given if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}")
        bind_contextvars(request_id=record.request_id)
        scope.setdefault("state", {})["record"] = record
        path = path_of(scope)  # read now, since a mounted application changes the scope
        started_at = perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = completed(message.get("headers", ()))
                headers.append((_REQUEST_ID_HEADER, record.request_id.encode()))
                message["headers"] = headers
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            _log.exception("unexpected error")
            if status:
                raise  # the answer has begun: only closing the connection shows the client that it is incomplete
            await problems.internal_server_error(scope)(scope, receive, send_with_id)
        finally:
            seconds = perf_counter() - started_at
            self._metrics.count(scope["method"], route_of(scope), status, seconds, record)
            _log_policy_failures(record.events)
            _log_request(scope, path, status, seconds, record)


def _log_policy_failures(events: tuple[Event, ...]) -> None:
    for event in events:
        if isinstance(event, PolicyFailureTolerated):
            _log.error("a policy failed; %s", event.consequence, exc_info=event.error)


def _log_request(scope: Scope, path: str, status: int, seconds: float, record: RequestRecord) -> None:
    level = logging.ERROR if status >= _SERVER_ERROR else logging.INFO
    if path in PROBES and status < _CLIENT_ERROR:
        level = logging.DEBUG  # they come every few seconds and are all alike
    if not _requests.is_enabled_for(level):
        return
    path = path[:_MAX_LOGGED_LENGTH]
    identity = scope["state"].get("identity")
    fields = {
        "logger": "rheostat.requests",
        "method": scope["method"],
        "path": path,
        "status": status,
        "duration_seconds": round(seconds, 6),
        "client": client_of(scope),
        "actor": identity.actor if isinstance(identity, Identity) else None,
        "namespace": record.namespace,
        "job_id": record.job_id,
        **{name: str(value)[:_MAX_LOGGED_LENGTH] for name, value in scope.get("path_params", {}).items()},
        "problem": record.problem,
        **_changes(record.events),
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    _requests.log(level, f"{scope['method']} {path} {status}", **fields)


def _changes(events: tuple[Event, ...]) -> dict[str, object]:
    """Return the log fields that tell what a request changed: the trial that it started or ended."""
    fields: dict[str, object] = {}
    abandoned = 0
    for event in events:
        if isinstance(event, TrialStarted):
            fields |= {"trial_id": event.trial_id, "batch_size": event.batch_size}
        elif isinstance(event, TrialEnded) and event.state == "abandoned":
            abandoned += 1
        elif isinstance(event, TrialEnded):
            fields["ended"] = event.state
            fields |= {"energy_joules": event.energy_joules, "time_seconds": event.time_seconds}
    return fields | {"abandoned": abandoned or None}
