"""What one connection may send before it is answered, and what many of them may hold; over real sockets."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Event, Thread
from time import monotonic
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from rheostat.api import connections
from rheostat.api.connections import MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES, Connections
from tests.waiting import PATIENCE_SECONDS

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"


class Site:
    """A server in a thread, whose application answers with what it got."""

    def __init__(self) -> None:
        self.port = 0
        self.seen: list[dict[str, Any]] = []
        self.release = Event()

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/hold":
            while not self.release.is_set():
                await asyncio.sleep(0.01)
        body, more = b"", True
        while more and scope["path"] != "/ignore":
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.seen.append({"path": scope["path"], "headers": dict(scope["headers"]), "body": body})
        content = b"x" * 30_000_000 if scope["path"] == "/big" else str(len(body)).encode()
        headers = [(b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)

    def ask(self, request: bytes) -> bytes:
        """Send a request and return all that is answered until the server closes the connection."""
        with self.connect() as client:
            client.sendall(request)
            return everything(client)

    def get(self, path: str = "/") -> int:
        """Return the status of an ordinary request."""
        return status(self.ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()))


def everything(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


def status(answer: bytes) -> int:
    assert answer, "closed without an answer"
    return int(answer.split()[1])


@contextmanager
def listening(maximum: int = 100, timeout_seconds: float = 20.0) -> Iterator[Site]:
    site = Site()
    config = uvicorn.Config(
        site.app,
        http=Connections(maximum, timeout_seconds),  # type: ignore[arg-type]
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        site.port = listener.getsockname()[1]
        thread = Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield site
        finally:
            site.release.set()
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with listening() as running:
        yield running


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines that a test can wait for."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(connections, "_SWEEP_SECONDS", 0.02)


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (HEAD + b"A: " + b"x" * 2 * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
        (HEAD + b"A: x\r\n" * MAX_HEADERS + b"\r\n", 431),
        (HEAD + b"".join(b"h%d: %s\r\n" % (i, b"x" * 1000) for i in range(90)) + b"\r\n", 431),
        (b"\r\n" * MAX_HEAD_BYTES, 431),
        (b"GET /" + b"x" * MAX_TARGET_BYTES + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (CHUNKED + b"\r\n1;" + b"x" * 2 * MAX_HEAD_BYTES + b"\r\na\r\n0\r\n\r\n", 413),
        (CHUNKED + b"\r\n0\r\nA: " + b"x" * 2 * MAX_HEAD_BYTES + b"\r\n\r\n", 413),
        (CHUNKED + b"\r\n0\r\n" + b"A: x\r\n" * 2 * MAX_HEAD_BYTES + b"\r\n", 413),
        (CHUNKED + b"\r\n" + b"1\r\nx\r\n" * MAX_HEAD_BYTES + b"0\r\n\r\n", 413),
        (CHUNKED + b"Content-Length: 1\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: gzip\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (HEAD + b"Content-Length: 0x1\r\n\r\n", 400),
        (HEAD + b"Content-Length: " + b"9" * 4300 + b"\r\n\r\n", 400),
        (HEAD + b"Host: other\r\n\r\n", 400),
        (HEAD + b" folded\r\n\r\n", 400),
        (b"\x16\x03\x01 TLS", 400),
    ],
)
def test_what_is_too_long_or_not_http_is_a_problem(site: Site, request_bytes: bytes, expected: int) -> None:
    head, _, body = site.ask(request_bytes).partition(b"\r\n\r\n")
    assert status(head) == expected
    assert b"\r\nconnection: close" in head
    assert b"\r\nx-frame-options: DENY" in head
    assert json.loads(body)["status"] == expected


def test_what_is_long_but_permitted_is_answered(site: Site) -> None:
    long = b"".join(b"h%d: %s\r\n" % (i, b"x" * 600) for i in range(MAX_HEADERS - 2))
    assert b"200 OK" in site.ask(HEAD + long + b"Connection: close\r\n\r\n")
    body = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    answer = site.ask(CHUNKED + b"Connection: close\r\n\r\n" + 30 * body + b"0\r\n\r\n")
    assert answer.endswith(str(30 * 65536).encode())


@pytest.mark.parametrize("pieces", [1, 7])
def test_a_refused_client_gets_its_answer_though_it_goes_on_sending(site: Site, pieces: int) -> None:
    with site.connect() as client:
        client.sendall(HEAD)
        for _ in range(pieces):
            client.sendall(b"x" * 1_000_000)
        assert status(everything(client)) == 431


def test_trailers_are_no_headers(site: Site) -> None:
    answer = site.ask(CHUNKED + b"Connection: close\r\n\r\n1\r\nx\r\n0\r\nAuthorization: Bearer stolen\r\n\r\n")
    assert status(answer) == 200
    assert b"authorization" not in site.seen[-1]["headers"]


def test_what_follows_an_upgrade_is_not_taken_for_a_request(site: Site) -> None:
    seen = len(site.seen)
    with site.connect() as client:
        client.sendall(HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 99\r\n\r\n")
        client.sendall(HEAD + b"\r\n")
        everything(client)
    assert len(site.seen) == seen + 1


def test_few_requests_may_be_sent_ahead_of_their_answers(site: Site) -> None:
    few = site.ask((HEAD + b"\r\n") * 4 + HEAD + b"Connection: close\r\n\r\n")
    assert few.count(b"200 OK") == 5
    many = site.ask((HEAD + b"\r\n") * 1000)
    assert 1 <= many.count(b"200 OK") <= 10


def test_an_answer_under_way_is_not_disturbed_by_what_follows(site: Site) -> None:
    answer = site.ask(HEAD + b"\r\nnonsense\r\n\r\n")
    assert status(answer) == 200
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.usefixtures("hurried")
def test_a_head_must_be_complete_in_time() -> None:
    with listening() as site:
        with site.connect() as silent:
            assert everything(silent) == b""
        with site.connect() as slow:
            slow.sendall(HEAD)
            assert status(everything(slow)) == 408
        with site.connect() as later:
            later.sendall(HEAD + b"\r\n")
            assert b"200 OK" in later.recv(65536)
            later.sendall(HEAD)
            assert status(everything(later)) == 408


@pytest.mark.usefixtures("hurried")
def test_a_slow_drip_is_no_progress() -> None:
    with listening() as site, site.connect() as client:
        began = monotonic()
        with pytest.raises(OSError, match=r"Broken pipe|reset"):  # noqa: PT012
            client.sendall(HEAD)
            while monotonic() - began < PATIENCE_SECONDS:
                client.sendall(b"x")
                Event().wait(0.01)


@pytest.mark.usefixtures("hurried")
def test_the_rest_of_a_body_is_not_awaited_for_long_after_the_answer() -> None:
    with listening(timeout_seconds=0.3) as site, site.connect() as client:
        client.sendall(b"POST /ignore HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        assert status(client.recv(65536)) == 200
        began = monotonic()
        with pytest.raises(OSError, match=r"Broken pipe|reset"):  # noqa: PT012
            while monotonic() - began < PATIENCE_SECONDS:
                client.sendall(b"x")
                Event().wait(0.01)


@pytest.mark.usefixtures("hurried")
def test_an_answer_that_is_not_read_is_given_up() -> None:
    with listening(timeout_seconds=0.5) as site, site.connect() as client:
        client.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n")
        Event().wait(1.5)
        received = 0
        with pytest.raises(ConnectionResetError):  # noqa: PT012
            while data := client.recv(1_000_000):
                received += len(data)
            raise ConnectionResetError
        assert received < 30_000_000


@pytest.mark.parametrize("first_bytes", [b"", HEAD])
def test_connections_without_a_request_shut_nobody_out(first_bytes: bytes) -> None:
    with listening(maximum=8) as site, ExitStack() as stack:
        clients = [stack.enter_context(site.connect()) for _ in range(40)]
        for client in clients:
            with suppress(OSError):  # closed already
                client.sendall(first_bytes)
        for _ in range(5):
            assert site.get() == 200
        assert everything_or_reset(clients[0]) == b""


def everything_or_reset(client: socket.socket) -> bytes:
    try:
        return everything(client)
    except ConnectionResetError:
        return b""


def test_a_connection_that_was_used_stays_while_others_were_not() -> None:
    with listening(maximum=8) as site, ExitStack() as stack:
        used = stack.enter_context(site.connect())
        used.sendall(HEAD + b"\r\n")
        assert b"200 OK" in used.recv(65536)
        for _ in range(20):
            stack.enter_context(site.connect())
        assert site.get() == 200
        used.sendall(HEAD + b"\r\n")
        assert b"200 OK" in used.recv(65536)


def test_a_connection_is_refused_only_while_all_others_are_busy() -> None:
    with listening(maximum=3) as site, ExitStack() as stack:
        for _ in range(3):
            busy = stack.enter_context(site.connect())
            busy.sendall(b"GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
        give_up_at = monotonic() + PATIENCE_SECONDS
        while (answer := site.ask(HEAD + b"Connection: close\r\n\r\n")) and status(answer) == 200:
            assert monotonic() < give_up_at  # until the server has read all three
        for _ in range(3):
            refused = site.ask(HEAD + b"\r\n")
            assert status(refused) == 503
            assert b"\r\nretry-after: 1" in refused
        site.release.set()
        while site.get() != 200:
            assert monotonic() < give_up_at
