"""Requests to an ASGI application in this process, without a server."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from rheostat.api.request_record import RequestRecord


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def scope_of(path: str = "/", method: str = "GET", headers: Mapping[str, str] | None = None, **more: Any) -> Scope:
    """Return the scope of a request from this machine; it has a record, as behind the request log."""
    raw = {"host": "localhost", **(headers or {})}
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in raw.items()],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8420),
        "state": {"record": RequestRecord("test")},
        **more,
    }


def ask(
    app: ASGIApp, path: str = "/", method: str = "GET", headers: Mapping[str, str] | None = None, **more: Any
) -> Answer:
    """Send a request without a body and return the answer."""
    return asyncio.run(answer_to(app, path, method, headers, **more))


async def answer_to(
    app: ASGIApp, path: str = "/", method: str = "GET", headers: Mapping[str, str] | None = None, **more: Any
) -> Answer:
    """Send a request without a body, as one of several, and return the answer."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope_of(path, method, headers, **more), receive, send)
    names = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], names, b"".join(message.get("body", b"") for message in sent[1:]))
