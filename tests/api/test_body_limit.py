"""Bodies that are too long or arrive too slowly."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from rheostat.api import body_limit
from rheostat.api.body_limit import LimitBody
from tests.api.asgi import scope_of
from tests.api.test_problems import problem
from tests.serving import serving
from tests.waiting import PATIENCE_SECONDS

JSON = {"content-type": "application/json"}


def test_a_body_of_declared_length_is_refused_when_it_is_too_long(http: httpx.Client) -> None:
    content = b'"' + b"x" * 10_000_000 + b'"'
    answer = http.post("/v1/jobs/nightly/predict", content=content, headers=JSON)
    assert problem(answer, 413)["code"] == "body_too_large"


def test_a_declared_length_may_have_thousands_of_digits(http: httpx.Client) -> None:
    for digits, status in (("0" * 4300 + "2", 422), ("0" * 4300 + "9" * 18, 413)):
        with socket.create_connection((http.base_url.host, http.base_url.port), timeout=PATIENCE_SECONDS) as client:
            head = "POST /v1/jobs/nightly/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            client.sendall(f"{head}Content-Length: {digits}\r\n\r\n{{}}".encode())
            assert client.recv(65536).startswith(f"HTTP/1.1 {status}".encode())


def test_a_body_of_undeclared_length_is_refused_when_it_becomes_too_long(http: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        yield from (b"x" * 100_000 for _ in range(20))

    answer = http.post("/v1/jobs/nightly/predict", content=chunks(), headers=JSON)
    assert problem(answer, 413)["code"] == "body_too_large"


def test_a_body_that_does_not_arrive_is_not_waited_for(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    with serving(url, tmp_path / "log", RHEOSTAT_REQUEST_TIMEOUT_SECONDS="0.3") as server:
        address = (server.client.base_url.host, server.client.base_url.port)
        with socket.create_connection(address, timeout=PATIENCE_SECONDS) as slow:
            head = "POST /v1/jobs/x/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            slow.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
            answer = b"".join(iter(lambda: slow.recv(65536), b"")).decode()
        assert answer.startswith("HTTP/1.1 408")
        assert '"code":"body_too_slow"' in answer


def test_a_body_that_arrives_byte_by_byte_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "FIRST_SECONDS", 0.2)

    async def drip() -> Message:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def read_all(_: Scope, receive: Receive, __: Send) -> None:
        while True:
            await receive()

    with pytest.raises(HTTPException, match=r"408: The body did not arrive within 0\.2"):
        asyncio.run(LimitBody(read_all, 1_000_000, 60.0)(scope_of("/", "POST"), drip, drip))  # type: ignore[arg-type]
