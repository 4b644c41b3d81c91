"""How a route reads a request and writes its answer.

FastAPI works out at every request which parameters a route has, where they come from and how each is validated: some
0.27 ms, as long as the server takes to decide. :class:`JsonRoute` works that out once, when the application is made.
The declarations, the OpenAPI document and the form of errors stay FastAPI's.
"""

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from fastapi import Request, Response, params
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from rheostat.api.waiting import read_within
from rheostat.schemas.fields import unknown_field

MAX_FIELDS = 3000
"""Most fields in a body, with those of objects in it: each may be wrong, and to say so of 100,000 holds up all other
requests for seconds. The largest body that a route takes, 256 measurements, has 1,300."""

NO_JSON = "content_type"
"""The type of the error of a body that does not say that it is JSON."""

_Errors = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A path, query or header parameter of a route.

    Attributes:
        name: Its name in the endpoint.
        place: Where it stands: ``path``, ``query`` or ``header``.
        alias: Its name there.
        type: Its type and bounds.
        default: Its value where it is left out; ``inspect.Parameter.empty``: it must be given.
    """

    name: str
    place: str
    alias: str
    type: TypeAdapter[Any]
    default: Any

    def read(self, request: Request, errors: _Errors) -> Any:
        """Return the parameter's value; if it is wrong, add the errors to those of the request."""
        sources = {"path": request.path_params, "query": request.query_params, "header": request.headers}
        value = sources[self.place].get(self.alias)
        if value is None and self.default is not inspect.Parameter.empty:
            return self.default
        if value is None:
            errors.append(_missing(self.place, self.alias))
            return None
        try:
            return self.type.validate_python(value)
        except ValidationError as error:
            errors += _located(error, self.place, self.alias)
            return None


@dataclass(frozen=True, slots=True)
class _Body:
    """The body of a route's requests, one JSON object.

    Attributes:
        name: Its name in the endpoint.
        type: Its model.
        needs_content_type: Whether one without a Content-Type is refused.
        is_optional: Whether it may be left out.
    """

    name: str
    type: type[BaseModel]
    needs_content_type: bool
    is_optional: bool

    async def read(self, request: Request, errors: _Errors) -> Any:
        """Return the parsed body; if it is wrong, add the errors to those of the request."""
        try:
            body = await request.body()
        except ClientDisconnect as error:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "The client left before the body was complete") from error
        if self.is_optional and body.strip() in (b"", b"null"):
            return None
        if not body:
            errors.append(_missing("body"))
            return None
        if body.count(b":") > MAX_FIELDS:
            errors.append(
                {"type": "too_long", "loc": ("body",), "msg": f"Must have at most {MAX_FIELDS} fields (colons)"}
            )
            return None
        if not self._is_json(request):
            given = request.headers.get("content-type")
            found = "no Content-Type" if given is None else f"the Content-Type {given}"
            errors.append({"type": NO_JSON, "loc": ("body",), "msg": f"Has {found}, and must have application/json"})
            return None
        try:
            return self.type.model_validate_json(body)
        except ValidationError as error:
            errors += [self._named(entry) for entry in _located(error, "body")]
            return None

    def _named(self, entry: dict[str, Any]) -> dict[str, Any]:
        if entry["type"] == "extra_forbidden":
            return entry | {"msg": unknown_field(self.type, entry["loc"][1:])}
        return _missing(*entry["loc"]) if entry["type"] == "missing" else entry

    def _is_json(self, request: Request) -> bool:
        # A page in a browser may send a body without a Content-Type to a server on a loopback address, never without
        # its origin.
        is_unnamed = "content-type" not in request.headers and "origin" not in request.headers
        return _is_json(request) or (is_unnamed and not self.needs_content_type)


@dataclass(slots=True)
class _Signature:
    """What an endpoint takes, by the names of its arguments."""

    parameters: list[_Parameter]
    body: _Body | None = None
    request: str | None = None
    response: str | None = None
    dependencies: dict[str, Callable[[Request], Awaitable[Any]]] | None = None


class JsonRoute(APIRoute):
    """A route that takes path, query and header parameters, one JSON body, and what it makes of the request itself.

    A dependency is an asynchronous function of the request and nothing else.

    Attributes:
        needs_content_type: Whether a body without a Content-Type is refused.
    """

    needs_content_type = True

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options | {"operation_id": endpoint.__name__})
        self.app = _application(self.get_route_handler())

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        endpoint, status = self.endpoint, self.status_code or 200
        signature = _signature_of(endpoint, self.needs_content_type)
        is_async = inspect.iscoroutinefunction(endpoint)

        async def answer(request: Request) -> Response:
            response = Response(status_code=status)
            arguments = await _arguments(signature, request, response)
            if is_async:
                answer = await endpoint(**arguments)
            else:
                answer = await read_within(request.app.state.request_timeout_seconds, partial(endpoint, **arguments))
            if isinstance(answer, Response):
                return answer
            if response.status_code == HTTPStatus.NO_CONTENT:
                return response
            content = "null" if answer is None else answer.model_dump_json()
            return Response(content, response.status_code, media_type="application/json")

        return answer


def _application(answer: Callable[[Request], Awaitable[Response]]) -> ASGIApp:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        response = await answer(Request(scope, receive, send))
        await response(scope, receive, send)

    return application


async def _arguments(signature: _Signature, request: Request, response: Response) -> dict[str, Any]:
    """Return an endpoint's arguments for a request.

    Raises:
        RequestValidationError: Some of them are wrong or missing.
    """
    arguments = {name: await make(request) for name, make in (signature.dependencies or {}).items()}
    errors: _Errors = []
    for parameter in signature.parameters:
        arguments[parameter.name] = parameter.read(request, errors)
    if signature.body is not None:
        arguments[signature.body.name] = await signature.body.read(request, errors)
    if errors:
        raise RequestValidationError(errors)
    if signature.request is not None:
        arguments[signature.request] = request
    if signature.response is not None:
        arguments[signature.response] = response
    return arguments


def _signature_of(endpoint: Callable[..., Any], needs_content_type: bool) -> _Signature:
    signature = _Signature([], dependencies={})
    hints = get_type_hints(endpoint, include_extras=True)
    for name, parameter in inspect.signature(endpoint).parameters.items():
        if (model := _model_in(hints[name])) is not None:
            is_optional = parameter.default is not inspect.Parameter.empty
            signature.body = _Body(name, model, needs_content_type, is_optional)
        else:
            _add(signature, name, hints[name], parameter.default)
    return signature


def _model_in(hint: Any) -> type[BaseModel] | None:
    """Return the model that a body is, or is where it is not left out; None: the hint is of another argument."""
    candidates = get_args(hint) if get_origin(hint) is UnionType else (hint,)
    return next((one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel)), None)


def _add(signature: _Signature, name: str, hint: Any, default: Any) -> None:
    metadata = hint.__metadata__ if get_origin(hint) is Annotated else ()
    declared = next((entry for entry in metadata if isinstance(entry, params.Depends | params.Param)), None)
    if isinstance(declared, params.Depends):
        assert declared.dependency is not None
        assert signature.dependencies is not None
        signature.dependencies[name] = declared.dependency
    elif isinstance(declared, params.Param):
        alias = declared.alias or name
        signature.parameters.append(_Parameter(name, declared.in_.value, alias, TypeAdapter(hint), default))
    elif hint is Request:
        signature.request = name
    elif hint is Response:
        signature.response = name
    else:
        raise AssertionError(f"{name}: declare it as a path, query or header parameter")


def _is_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or media_type.endswith("+json")


def _missing(*place: str) -> dict[str, Any]:
    return {"type": "missing", "loc": place, "msg": "Is missing", "input": None}


def _located(error: ValidationError, *place: str) -> _Errors:
    return [{**entry, "loc": (*place, *entry["loc"])} for entry in error.errors(include_url=False, include_input=False)]
