"""Errors as ``application/problem+json`` (RFC 9457): one file, so that every answer looks the same."""

import logging
from asyncio import get_running_loop, timeout_at
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rheostat.api.paths import header
from rheostat.errors import (
    Conflict,
    FieldError,
    Forbidden,
    InvalidInput,
    NotFound,
    PolicyFailed,
    RateLimited,
    RheostatError,
    ScopeMissing,
    TokenInvalid,
    Unauthenticated,
    Unavailable,
)
from rheostat.schemas.server import FieldProblem, Problem
from rheostat.service.notes import note

MEDIA_TYPE = "application/problem+json"

_STATUS: dict[type[RheostatError], HTTPStatus] = {
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    PolicyFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

_HTTP_CODES = {
    HTTPStatus.BAD_REQUEST: ("malformed_request", "Send a JSON body in UTF-8."),
    HTTPStatus.NOT_FOUND: ("no_such_route", "The routes are listed at /docs."),
    HTTPStatus.METHOD_NOT_ALLOWED: ("method_not_allowed", "The header Allow lists the methods of this route."),
    HTTPStatus.REQUEST_TIMEOUT: ("body_too_slow", "Send the whole body at once."),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ("body_too_large", "Send less in one request."),
    HTTPStatus.MISDIRECTED_REQUEST: (
        "host_not_allowed",
        "If it is this server's name, add it to RHEOSTAT_ALLOWED_HOSTS, a list with commas.",
    ),
}

_LONGEST_CAUSE = 300
_MOST_DISCARDED_BYTES = 64 * 2**20

_log = logging.getLogger(__name__)


def install(app: FastAPI) -> None:
    """Answer every error of an application as a problem."""
    app.add_exception_handler(RheostatError, _rheostat_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, of_http_exception)


class LimitBody:
    """Refuses a request with too long a body: by the length that it declares, or else by what really comes.

    Refuses one that comes too slowly as well, or a client could keep a connection for ever. Starlette's own limit
    answers a declared length in plain text.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, timeout_seconds: float) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._timeout_seconds = timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = header(scope, b"content-length") or ""
        taken, more = 0, True
        deadline = get_running_loop().time() + self._timeout_seconds
        if declared.isdecimal() and int(declared) > self._max_body_bytes:
            await _discard(receive, deadline)
            response = await of_http_exception(Request(scope), self._too_large())
            await response(scope, receive, send)
            return

        async def take() -> Message:
            nonlocal taken, more
            if not more:  # one waits for nothing but the client's leaving, as long as the answer takes
                return await receive()
            try:
                async with timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(
                    HTTPStatus.REQUEST_TIMEOUT,
                    f"The body did not come within {self._timeout_seconds:g} seconds",
                    {"Connection": "close"},  # what may still come of it is no new request
                ) from error
            more = message.get("more_body", False)
            taken += len(message.get("body", b""))
            if taken > self._max_body_bytes:
                if more:
                    await _discard(receive, deadline)
                raise self._too_large()
            return message

        await self._app(scope, take, send)

    def _too_large(self) -> HTTPException:
        return HTTPException(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is longer than {self._max_body_bytes} bytes"
        )


async def _discard(receive: Receive, deadline: float) -> None:
    """Take the rest of a body and drop it, within reason: who is still sending would not see the answer."""
    taken = 0
    with suppress(TimeoutError):
        async with timeout_at(deadline):
            while taken < _MOST_DISCARDED_BYTES:
                message = await receive()
                taken += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of the problems that a route may answer with: its own, and what any may."""
    return {
        status: {"description": HTTPStatus(status).phrase, "model": Problem}
        for status in (*statuses, 400, 401, 403, 408, 413, 421, 422, 429, 503)
    }


def answer(error: RheostatError) -> Response:
    """Return the problem that an error is."""
    status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), HTTPStatus.INTERNAL_SERVER_ERROR)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        # Known, and many at once: a traceback of each would hide what the person on call looks for.
        _log.error("%s: %s%s", error.code, error, _cause(error))
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s: %s", error.code, error, exc_info=error)
    response = _problem(status, error.code, error.message, error.hint, retryable=error.retryable, fields=error.fields)
    if isinstance(error, RateLimited):
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    # RFC 6750 names these for bearer tokens.
    if isinstance(error, Unauthenticated):
        invalid = ', error="invalid_token"' if isinstance(error, TokenInvalid) else ""
        response.headers["WWW-Authenticate"] = f'Bearer realm="rheostat"{invalid}'
    elif isinstance(error, ScopeMissing):
        challenge = f'Bearer realm="rheostat", error="insufficient_scope", scope="{error.scope}"'
        response.headers["WWW-Authenticate"] = challenge
    return response


def _cause(error: RheostatError) -> str:
    """Return in brackets what the database's driver said, without the statement that SQLAlchemy adds."""
    cause = getattr(error.__cause__, "orig", None) or error.__cause__
    said = str(cause).strip().partition("\n")[0] if cause is not None else ""
    return f" ({said[:_LONGEST_CAUSE]})" if said else ""


async def _rheostat_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RheostatError)
    return answer(error)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = [_field(dict(problem)) for problem in error.errors()]
    hint = "Correct the fields named below."
    if fields[0].field == "body" and not _is_json(request):
        hint = "Send the header Content-Type: application/json."
    names = ", ".join(dict.fromkeys(field.field for field in fields))
    return _problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, InvalidInput.code, f"Not understood: {names}.", hint, fields=fields
    )


async def of_http_exception(request: Request, error: Exception) -> Response:
    """Return the problem that an error of the HTTP framework is."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    code, hint = _HTTP_CODES.get(status, (status.name.lower(), ""))
    response = _problem(status, code, str(error.detail).rstrip(".") + ".", hint)
    response.headers.update(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED and "route" in request.scope:
        # The router names the methods of the first route of that path only.
        route = request.scope["route"]
        methods = request.app.openapi()["paths"].get(route.path, route.methods)
        response.headers["Allow"] = ", ".join(sorted(method.upper() for method in methods))
    return response


def unforeseen() -> Response:
    """Return the answer to what nobody foresaw, without a word of it; the server's log has the traceback."""
    return _problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        RheostatError.code,
        "The server failed in a way that nobody foresaw.",
        "Its log tells more; please report it.",
    )


def _problem(
    status: HTTPStatus,
    code: str,
    detail: str,
    hint: str,
    *,
    retryable: bool = False,
    fields: Sequence[FieldError] = (),
) -> Response:
    problem = Problem(
        type=f"urn:rheostat:problem:{code}",
        title=status.phrase,
        status=status.value,
        detail=detail,
        code=code,
        retryable=retryable,
        hint=hint,
        fields=[FieldProblem(field=field.field, message=field.message) for field in fields],
    )
    note(problem=code)
    headers = {"Retry-After": "1"} if retryable else None
    return Response(problem.model_dump_json(), status, headers, MEDIA_TYPE)


def _field(problem: dict[str, Any]) -> FieldError:
    """Name a field as its sender does: ``gpu.count`` in the body, the plain name of a header or query."""
    source, *path = problem["loc"]
    if problem["type"] == "json_invalid":
        return FieldError("body", f"is not JSON: {problem.get('ctx', {}).get('error', problem['msg'])}")
    name = ".".join(str(step) for step in path) or str(source)
    message = problem["msg"].removeprefix("Value error, ")
    return FieldError(name, message[:1].lower() + message[1:])


def _is_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")
