"""The HTTP server on the agent's Unix socket.

It uses the standard library's server, which gives access to the connected socket, by which the kernel identifies the
peer, and adds no packages to a process that runs as root. A trainer sends a few requests per minute, so one thread per
connection is fast enough. No user keeps the others out: of each a few connections are served at a time, and a request
must arrive within seconds.
"""

import io
import logging
import os
import socket
import socketserver
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from time import monotonic
from typing import Any

from rheostat.agent.api import Api, Response
from rheostat.agent.peer import Peer, peer_of
from rheostat.errors import InvalidInput
from rheostat.schemas.operations import Problem

logger = logging.getLogger(__name__)

_MAX_BODY_BYTES = 64 * 1024
_REQUEST_SECONDS = 5.0
_IDLE_SECONDS = 10.0
_MAX_SERVED = 128
_RESERVED_FOR_ADMINS = 16
_MAX_SERVED_PER_USER = 16
_MAX_WAITING_PER_USER = 64
# With those that are served, fewer than the 1024 files that a process may usually have open: the ledger needs some.
_MAX_WAITING = 512


class _TimedReader(io.RawIOBase):
    """Reads a socket until a moment, whether the peer is silent or sends a byte now and then.

    Attributes:
        give_up_at: The moment, on the monotonic clock.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.give_up_at = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        seconds = self.give_up_at - monotonic()
        if seconds <= 0:
            raise TimeoutError("the request did not arrive in time")
        self._connection.settimeout(seconds)
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    server: "UnixServer"
    protocol_version = "HTTP/1.1"
    client_address: Peer  # type: ignore[assignment]

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._reader = _TimedReader(self.connection)
        self.rfile = io.BufferedReader(self._reader)
        self._seconds = _REQUEST_SECONDS

    def handle_one_request(self) -> None:
        self._reader.give_up_at = monotonic() + self._seconds
        super().handle_one_request()
        self._seconds = _IDLE_SECONDS

    def _handle(self) -> None:
        try:
            body = self._read_body()
        except InvalidInput as error:
            self.close_connection = True  # the rest of the body must not be read as the next request
            self._send(self.server.api.refusal(error))
            return
        peer = self.client_address
        self._send(self.server.api.respond(self.command, self.path, self.connection, peer, body))

    def _read_body(self) -> bytes:
        text = self.headers.get("Content-Length", "0")
        if self.headers.get("Transfer-Encoding") or not text.isdecimal() or int(text) > _MAX_BODY_BYTES:
            raise InvalidInput(f"A body needs a Content-Length of at most {_MAX_BODY_BYTES} bytes.")
        return self.rfile.read(int(text))

    def _send(self, response: Response) -> None:
        status, answer = response
        content = answer.model_dump_json().encode()
        self.connection.settimeout(_REQUEST_SECONDS)
        self.send_response(status)
        kind = "application/problem+json" if isinstance(answer, Problem) else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        logger.debug(format, *args)

    def address_string(self) -> str:
        return "the socket"


class _Turns:
    """Whose connections are served now; the others wait, each user's in order. Thread-safe.

    Args:
        serve: Called when it is a connection's turn; `end` must follow.
    """

    def __init__(self, serve: Callable[[socket.socket, Peer], None]) -> None:
        self._serve = serve
        self._lock = threading.Lock()
        self._served: Counter[int] = Counter()
        self._waiting: defaultdict[int, deque[tuple[socket.socket, Peer]]] = defaultdict(deque)

    def add(self, connection: socket.socket, peer: Peer) -> bool:
        """Serve a connection as soon as may be; return False when too many of its user wait."""
        with self._lock:
            waiting = sum(len(queue) for queue in self._waiting.values())
            queue = self._waiting[peer.uid]
            if len(queue) >= _MAX_WAITING_PER_USER or waiting >= _MAX_WAITING:
                return False
            queue.append((connection, peer))
        self._next()
        return True

    def end(self, peer: Peer) -> None:
        """Give the turn of a connection to the next one."""
        with self._lock:
            self._served[peer.uid] -= 1
            self._served += Counter()  # drop those without any
        self._next()

    def _next(self) -> None:
        with self._lock:
            for uid, queue in list(self._waiting.items()):
                while queue and self._may_serve(queue[0][1]):
                    connection, peer = queue.popleft()
                    self._served[uid] += 1
                    try:
                        self._serve(connection, peer)
                    except RuntimeError:  # no thread can be started
                        self._served[uid] -= 1
                        connection.close()
                if not queue:
                    del self._waiting[uid]

    def _may_serve(self, peer: Peer) -> bool:
        served = self._served.total()
        if peer.is_admin:
            return served < _MAX_SERVED
        return self._served[peer.uid] < _MAX_SERVED_PER_USER and served < _MAX_SERVED - _RESERVED_FOR_ADMINS


class UnixServer(socketserver.ThreadingUnixStreamServer):
    """Listens on the socket.

    Args:
        path: The path of the socket; a stale one is replaced.
        group: The id of the group that may connect.
        api: The routes.
    """

    daemon_threads = True
    block_on_close = False
    # When this many are not accepted yet, a client that has set a timeout is refused at once.
    request_queue_size = 1024

    def __init__(self, path: Path, group: int, api: Api) -> None:
        self.api = api
        self._path = path
        self._turns = _Turns(super().process_request)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        # No client may connect before mode and group are set.
        before = os.umask(0o177)
        try:
            super().__init__(str(path), _Handler)
        finally:
            os.umask(before)
        self._bound = path.stat()
        os.chown(path, -1, group)
        path.chmod(0o660)

    @property
    def is_reachable(self) -> bool:
        """Whether the path still leads to this socket."""
        try:
            return os.path.samestat(self._path.stat(), self._bound)
        except OSError:
            return False

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection on a thread of its own when it is its turn; close it when too many wait."""
        if not self._turns.add(request, peer_of(request)):
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection until it is closed."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._turns.end(client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log a connection that failed, such as one that the client closed."""
        logger.debug("connection failed", exc_info=True)

    def server_close(self) -> None:
        """Stop listening, and remove the socket."""
        reachable = self.is_reachable
        super().server_close()
        if reachable:
            self._path.unlink(missing_ok=True)
