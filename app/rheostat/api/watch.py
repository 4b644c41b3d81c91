"""One line in the log, one count and, where wanted, one span for every request; and an answer when all else failed."""

import logging
import re
from time import perf_counter
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rheostat.api import logs, problems
from rheostat.api.metrics import Metrics
from rheostat.api.paths import PROBES, header, path_of
from rheostat.api.tracing import Tracer
from rheostat.service.identity import Identity
from rheostat.service.notes import begin_notes

REQUEST_ID_HEADER = "X-Request-ID"
_REQUEST_ID_HEADER = REQUEST_ID_HEADER.lower().encode()

_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_SERVER_ERROR = 500
_CLIENT_ERROR = 400

_log = logging.getLogger(__name__)
_requests = logging.getLogger(logs.REQUESTS)


class Watch:
    """The outermost layer: whatever happens behind it has one line in the log and one answer.

    A request that carries an ``X-Request-ID`` keeps it; the others get one. It is in the answer and in every line
    of the log that the request causes.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, tracer: Tracer) -> None:
        self._app = app
        self._metrics = metrics
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and tell of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = header(scope, _REQUEST_ID_HEADER) or ""
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid4().hex
        notes = begin_notes(request_id=request_id)
        scope.setdefault("state", {})
        path = path_of(scope)  # now, for a mounted application changes the scope
        began = perf_counter()
        status = 0

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_REQUEST_ID_HEADER, request_id.encode())]
            await send(message)

        with self._tracer(scope["method"], Headers(scope=scope)) as finish_span:
            try:
                await self._app(scope, receive, tell)
            except Exception:
                _log.exception("a request failed in a way that nobody foresaw")
                if status:
                    raise  # half an answer is out: only the end of the connection can tell that it is not whole
                await problems.unforeseen()(scope, receive, tell)
            finally:
                seconds = perf_counter() - began
                route = _template(scope)
                self._metrics.count(scope["method"], route, status, seconds, notes)
                finish_span(f"{scope['method']} {route}", _attributes(scope, route, status, request_id))
                _write_line(scope, path, status, seconds, notes)


def _template(scope: Scope) -> str:
    route = scope.get("route")
    return getattr(route, "path", None) or ("/docs/assets" if "endpoint" in scope else "none")


def _attributes(scope: Scope, route: str, status: int, request_id: str) -> dict[str, str | int]:
    return {
        "http.request.method": scope["method"],
        "http.route": route,
        "http.response.status_code": status,
        "rheostat.request_id": request_id,
    }


def _write_line(scope: Scope, path: str, status: int, seconds: float, notes: dict[str, object]) -> None:
    level = logging.ERROR if status >= _SERVER_ERROR else logging.INFO
    if path in PROBES and status < _CLIENT_ERROR:
        level = logging.DEBUG  # every few seconds, and all alike
    if not _requests.isEnabledFor(level):
        return
    identity = scope["state"].get("identity")
    facts = {
        "method": scope["method"],
        "path": path[:300],
        "status": status,
        "duration_seconds": round(seconds, 6),
        "client": scope["client"][0] if scope.get("client") else None,
        "actor": identity.actor if isinstance(identity, Identity) else None,
        **scope.get("path_params", {}),
        **notes,
    }
    facts = {name: value for name, value in facts.items() if value is not None}
    _requests.log(level, "%s %s %s", scope["method"], path[:300], status, extra={"facts": facts})
