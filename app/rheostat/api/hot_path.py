"""Predict, observe and heartbeat without the framework's detours, which would take most of a request's time.

Only what is plainly right is answered here. Everything else, a body that is not understood for one, goes on to the
framework's route of the same name, so that there is one documentation and one wording of what is wrong.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rheostat import service as use_cases
from rheostat.api import problems
from rheostat.api.authentication import authorise
from rheostat.api.dependencies import desk_of
from rheostat.errors import RheostatError
from rheostat.schemas.server import IDEMPOTENCY_KEY_PATTERN, JOB_ID_PATTERN, ObserveRequest, PredictRequest
from rheostat.service import Service
from rheostat.service.desk import Question

_JOB = JOB_ID_PATTERN.strip("^$")
_PATH = re.compile(
    rf"/v1/(?:jobs/(?P<job>{_JOB})/(?P<predict>predict)|trials/(?P<trial>[0-9a-f]{{32}})/(?P<report>\w+))"
)
_KEY = re.compile(IDEMPOTENCY_KEY_PATTERN)


@dataclass(frozen=True, slots=True)
class _Route:
    """The path of the framework's route, what is read of a request and asks of the desk, and the answer's status."""

    path: str
    body: type[BaseModel] | None
    question: Callable[[Service, str, Any, str | None], Question]
    status: int


_ROUTES = {
    "predict": _Route("/v1/jobs/{job_id}/predict", PredictRequest, use_cases.to_predict, 201),
    "observe": _Route(
        "/v1/trials/{trial_id}/observe",
        ObserveRequest,
        lambda service, trial, body, _: use_cases.to_observe(service, trial, body),
        200,
    ),
    "heartbeat": _Route(
        "/v1/trials/{trial_id}/heartbeat", None, lambda service, trial, *_: use_cases.to_heartbeat(service, trial), 200
    ),
}


class HotPath:
    """Answers the requests of running trials, and passes all others on.

    Args:
        app: What answers the others.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        found = _PATH.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        route = _ROUTES.get(found["predict"] or found["report"]) if found is not None else None
        if found is None or route is None:
            await self._app(scope, receive, send)
            return
        messages: list[Message] = []
        try:
            body = await _read(receive, messages)
        except HTTPException as error:  # it is too large, or does not come
            await (await problems.of_http_exception(Request(scope), error))(scope, receive, send)
            return
        key, plain = _headers(scope, route)
        try:
            parsed = route.body.model_validate_json(body) if plain and route.body is not None else None
        except ValidationError:
            plain = False
        if not plain:
            await self._app(scope, _again(messages, receive), send)
            return
        # For whoever counts requests by their routes, and tells of them.
        scope["route"] = route
        scope["path_params"] = {f"{name}_id": found[name] for name in ("job", "trial") if found[name] is not None}
        try:
            service = authorise(scope, "trainer")
            question = route.question(service, found["job"] or found["trial"], parsed, key)
            answer: BaseModel = await desk_of(scope["app"]).ask(question)
        except RheostatError as error:
            await problems.answer(error)(scope, receive, send)
            return
        await _send(send, route.status, answer.model_dump_json().encode())


async def _read(receive: Receive, messages: list[Message]) -> bytes:
    """Return the body; the messages that brought it are kept."""
    while True:
        message = await receive()
        messages.append(message)
        if message["type"] != "http.request" or not message.get("more_body", False):
            return b"".join(part.get("body", b"") for part in messages)


def _again(messages: list[Message], receive: Receive) -> Receive:
    """Return a way to receive that begins with the messages that were received already."""
    earlier = iter(messages)

    async def take() -> Message:
        return next(earlier, None) or await receive()

    return take


def _headers(scope: Scope, route: _Route) -> tuple[str | None, bool]:
    """Return the idempotency key, and whether the headers are such as nearly everybody sends."""
    keys, kinds = [], []
    for name, value in scope["headers"]:
        if name == b"content-type":
            kinds.append(value)
        elif name == b"idempotency-key":
            keys.append(value.decode("latin-1"))
    plain = len(keys) <= 1 and all(_KEY.fullmatch(key) for key in keys)
    return next(iter(keys), None), plain and (route.body is None or kinds == [b"application/json"])


async def _send(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
