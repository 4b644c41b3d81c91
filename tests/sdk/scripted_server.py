"""A small HTTP server over a real socket that answers, or fails to, as a test says."""

import json
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, Self

from pydantic import BaseModel


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Reply:
    """What to answer: a body as text, JSON or a wire model."""

    status: int = 200
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        if isinstance(self.body, str):
            return self.body.encode()
        if isinstance(self.body, BaseModel):
            return self.body.model_dump_json().encode()
        return json.dumps(self.body).encode()


def problem(status: int, code: str, *, retryable: bool, detail: str = "It did not work.") -> Reply:
    body = {
        "type": f"urn:rheostat:{code}",
        "title": code,
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": retryable,
        "hint": "Try this.",
        "fields": [{"field": "gpu.count", "message": "must be at least 1"}],
    }
    return Reply(status, body, {"Content-Type": "application/problem+json"})


class Trouble(Enum):
    """Ways to give no complete answer."""

    RESET = auto()
    HANG = auto()
    DRIBBLE = auto()
    DRIBBLE_HEADERS = auto()


Script = Callable[[Seen], Reply | Trouble]


class ScriptedServer(ThreadingHTTPServer):
    """Answers each request with what the script returns for it, and remembers it."""

    daemon_threads = True

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.seen: list[Seen] = []
        self.leave = Event()
        self._thread = Thread(target=self.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.leave.set()
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedServer

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        seen = Seen(self.command, self.path, dict(self.headers), json.loads(raw) if raw else None)
        self.server.seen.append(seen)
        reply = self.server.script(seen)
        if isinstance(reply, Reply):
            self._send(reply)
        elif reply == Trouble.RESET:
            linger_zero = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
        elif reply == Trouble.HANG:
            self.server.leave.wait()
        elif reply == Trouble.DRIBBLE:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self._dribble()
        else:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            self._dribble()

    def _send(self, reply: Reply) -> None:
        content = reply.content()
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(content)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _dribble(self) -> None:
        with suppress(OSError):
            while not self.server.leave.wait(0.02):
                self.wfile.write(b" ")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815


def in_turn(*replies: Reply | Trouble) -> Script:
    """Give each reply once, in order, and then the last one every time."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]
