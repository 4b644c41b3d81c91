"""Errors as ``application/problem+json`` (RFC 9457). Every error answer of the server is made here."""

import logging
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from http import HTTPStatus
from math import ceil
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Scope

from rheostat.api.paths import PROBES, ZEUS_PREFIX, header, is_zeus, path_of, root_path_of
from rheostat.api.request_record import record_of
from rheostat.api.routing import NO_JSON
from rheostat.dashboard.site import Site
from rheostat.dashboard.visit import problem_page
from rheostat.errors import (
    Conflict,
    FieldError,
    Forbidden,
    InvalidInput,
    NotFound,
    PolicyFailed,
    RheostatError,
    ScopeMissing,
    TokenInvalid,
    TooManyWrongTokens,
    Unauthenticated,
    Unavailable,
)
from rheostat.schemas.fields import JOB_ID_RULE, sentence
from rheostat.schemas.operations import FieldProblem, Problem
from rheostat.schemas.zeus import ZeusMessage

MEDIA_TYPE = "application/problem+json"

_STATUS: dict[type[RheostatError], HTTPStatus] = {
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Forbidden: HTTPStatus.FORBIDDEN,
    TooManyWrongTokens: HTTPStatus.TOO_MANY_REQUESTS,
    PolicyFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

HTTP_CODES = {
    HTTPStatus.NOT_FOUND: ("no_such_route", "The routes are listed at {root_path}/docs."),
    HTTPStatus.METHOD_NOT_ALLOWED: ("method_not_allowed", "The header Allow lists the methods of this route."),
    HTTPStatus.REQUEST_TIMEOUT: ("body_too_slow", "Send the whole body without pauses."),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: (
        "body_too_large",
        "Send a smaller body, or let an operator raise RHEOSTAT_MAX_BODY_BYTES.",
    ),
    HTTPStatus.MISDIRECTED_REQUEST: (
        "host_not_allowed",
        "If it is a name of this server, add it to RHEOSTAT_ALLOWED_HOSTS, a comma-separated list.",
    ),
}

_ROUTING = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)

_MAX_FIELDS = 20
_MAX_FIELDS_NAMED = 5
_MAX_FIELD_LENGTH = 200  # of a name or a message, which may hold what was sent

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProblemBody:
    """What a problem says."""

    status: HTTPStatus
    code: str
    detail: str
    hint: str = ""
    _: KW_ONLY
    retryable: bool = False
    fields: Sequence[FieldError] = ()

    def json(self) -> str:
        """Return it as JSON."""
        problem = Problem(
            type=f"urn:rheostat:problem:{self.code}",
            title=self.status.phrase,
            status=self.status.value,
            detail=self.detail,
            code=self.code,
            retryable=self.retryable,
            hint=self.hint,
            fields=[FieldProblem(field=field.field, message=field.message) for field in self.fields],
        )
        return problem.model_dump_json()


def install(app: FastAPI) -> None:
    """Answer every error that an application's routes raise with a problem."""
    app.add_exception_handler(RheostatError, _rheostat_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of the problems that a route may answer with: its own, and those of any route."""
    return {
        status: {"description": HTTPStatus(status).phrase, "model": Problem}
        for status in (*statuses, 401, 403, 408, 413, 421, 422, 429, 503)
    }


def zeus_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI entries of the errors that a route of the peer's protocol may answer with."""
    return {status: {**entry, "model": ZeusMessage} for status, entry in responses(*statuses).items()}


def status_of(kind: type[RheostatError]) -> HTTPStatus:
    """Return the status that an error of ours is answered with."""
    return next((_STATUS[base] for base in kind.__mro__ if base in _STATUS), HTTPStatus.INTERNAL_SERVER_ERROR)


def answer(scope: Scope, error: RheostatError) -> Response:
    """Return the problem for an error of ours, and log it if it is the server's fault."""
    status = status_of(type(error))
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        # An expected state that affects many requests at once: tracebacks would bury what an operator looks for.
        _log.error("%s: %s%s", error.code, error, error.cause_text())
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s: %s", error.code, error, exc_info=error)
    response = _problem(
        scope, status, error.code, error.message, error.hint, retryable=error.retryable, fields=error.fields
    )
    # RFC 6750 defines these for bearer tokens.
    if isinstance(error, Unauthenticated):
        invalid = ', error="invalid_token"' if isinstance(error, TokenInvalid) else ""
        response.headers["WWW-Authenticate"] = f'Bearer realm="rheostat"{invalid}'
    elif isinstance(error, ScopeMissing):
        challenge = f'Bearer realm="rheostat", error="insufficient_scope", scope="{error.scope}"'
        response.headers["WWW-Authenticate"] = challenge
    elif isinstance(error, TooManyWrongTokens):
        response.headers["Retry-After"] = str(ceil(error.wait_seconds))
    return response


def http_problem(scope: Scope, error: HTTPException) -> Response:
    """Return the problem for an error of the HTTP framework."""
    status = HTTPStatus(error.status_code)
    code, hint = HTTP_CODES.get(status, (status.name.lower(), ""))
    if status == HTTPStatus.NOT_FOUND and b"%2f" in scope.get("raw_path", b"").lower():
        hint = f"A job's name has no slash: {JOB_ID_RULE}."
    if status == HTTPStatus.NOT_FOUND and "//" in path_of(scope):
        hint = "A name in it is empty: is a variable unset?"
    detail = str(error.detail)
    headers = dict(error.headers or {})
    if status in _ROUTING and detail == status.phrase:
        detail = f"There is no route {scope['method']} {_shortened(path_of(scope))}"
    if status == HTTPStatus.METHOD_NOT_ALLOWED and "route" in scope:
        # The router lists the methods of the first route of that path only.
        route = scope["route"]
        methods = scope["app"].openapi()["paths"].get(route.path, route.methods)
        headers["Allow"] = ", ".join(sorted(method.upper() for method in methods))
        hint = f"This path has: {headers['Allow']}."
    response = _problem(scope, status, code, sentence(detail), hint.format(root_path=root_path_of(scope)))
    response.headers.update(headers)
    return response


def internal_server_error(scope: Scope) -> Response:
    """Return the problem for an unexpected exception, without its text; the log has the traceback."""
    return _problem(
        scope,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        RheostatError.code,
        "Internal server error.",
        "The server's log has the details under this X-Request-ID; please report them.",
    )


async def _rheostat_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RheostatError)
    return answer(request.scope, error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return http_problem(request.scope, error)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = error.errors()
    fields = [_field(dict(problem)) for problem in errors[:_MAX_FIELDS]]
    hint = f"Correct these fields; {root_path_of(request.scope)}/docs lists all."
    if errors[0]["type"] == NO_JSON:
        hint = "Send the header Content-Type: application/json."
    what = "; ".join(f"{field.field}: {field.message}" for field in fields[:_MAX_FIELDS_NAMED])
    if len(errors) > _MAX_FIELDS_NAMED:
        what += f"; and {len(errors) - _MAX_FIELDS_NAMED:,} more"
    if len(errors) > _MAX_FIELDS:
        fields.append(FieldError("...", f"and {len(errors) - _MAX_FIELDS:,} more"))
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    return _problem(request.scope, status, InvalidInput.code, sentence(what), hint, fields=fields)


def _problem(
    scope: Scope,
    status: HTTPStatus,
    code: str,
    detail: str,
    hint: str,
    *,
    retryable: bool = False,
    fields: Sequence[FieldError] = (),
) -> Response:
    problem = ProblemBody(status, code, detail, hint, retryable=retryable, fields=fields)
    record_of(scope).problem = code
    headers = {"Retry-After": "1"} if retryable else {}
    if _is_for_people(scope):
        page = problem_page(Request(scope), Site(), status, detail, hint)
        page.headers.update(headers)
        return page
    if is_zeus(scope):
        message = ZeusMessage(message=f"{detail} {hint}".strip())
        return Response(message.model_dump_json(), status, headers, "application/json")
    return Response(problem.json(), status, headers, MEDIA_TYPE)


def _is_for_people(scope: Scope) -> bool:
    """Return whether a browser asked for a page: one that opens a route of the API is given what the API answers."""
    is_of_api = f"{path_of(scope)}/".startswith(("/v1/", f"{ZEUS_PREFIX}/", *(f"{probe}/" for probe in PROBES)))
    return not is_of_api and "text/html" in (header(scope, b"accept") or "")


def _field(problem: dict[str, Any]) -> FieldError:
    """Name a field as its sender does: ``gpu.count`` in the body, the plain name of a header or query parameter."""
    source, *path = problem["loc"]
    if problem["type"] == "json_invalid":
        return FieldError("body", f"is not JSON: {problem.get('ctx', {}).get('error', problem['msg'])}")
    name = ".".join(str(step) for step in path) or str(source)
    message = problem["msg"].removeprefix("Value error, ")
    return FieldError(_shortened(name), _shortened(message[:1].lower() + message[1:]))


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_FIELD_LENGTH else f"{text[:_MAX_FIELD_LENGTH]}..."
