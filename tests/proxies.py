"""Proxies for tests: one for HTTP, under a prefix, over TLS or not, and one that speaks TLS for PostgreSQL."""

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Self
from urllib.parse import urlsplit

import trustme

from tests.waiting import PATIENCE_SECONDS

_OWN_HEADERS = ("transfer-encoding", "content-length", "connection")


@contextmanager
def proxied(
    upstream: str,
    *,
    prefix: str = "",
    strips: bool = True,
    headers: dict[str, str] | None = None,
    authority: trustme.CA | None = None,
) -> Iterator[str]:
    """Serve another server for the length of a block; yield the address, with the prefix.

    Args:
        upstream: The other server's address.
        prefix: What its addresses begin with here.
        strips: Whether the prefix is taken off the path.
        headers: Headers to add to requests.
        authority: Signs the certificate of ``localhost``; None: without TLS.
    """
    target = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
            path = self.path.removeprefix(prefix) if strips else self.path
            connection = http.client.HTTPConnection(target.netloc, timeout=PATIENCE_SECONDS)
            connection.request(self.command, path, body, {**dict(self.headers.items()), **(headers or {})})
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _OWN_HEADERS:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _pass_on  # noqa: N815 -- the base class calls them so

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if authority is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("localhost").configure_cert(context)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            scheme = "http" if authority is None else "https"
            yield f"{scheme}://localhost:{server.server_port}{prefix}"
        finally:
            server.shutdown()
            thread.join()


class PostgresTls:
    """Speaks TLS in front of a PostgreSQL that listens on a Unix socket, for a build without TLS; a context manager.

    Attributes:
        port: Where it listens, on ``localhost``.
        handshakes: How many clients have trusted its certificate.
    """

    _SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)
    """PostgreSQL, "Frontend/Backend Protocol", SSLRequest; GSSENCRequest differs in the last byte."""

    def __init__(self, upstream: str, authority: trustme.CA) -> None:
        self.handshakes = 0
        self._upstream = upstream
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self._context)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = [self._listener]
        Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError), plain:
            while plain.recv(8) != self._SSL_REQUEST:
                plain.sendall(b"N")
            plain.sendall(b"S")
            with self._context.wrap_socket(plain, server_side=True) as client, socket.socket(socket.AF_UNIX) as server:
                self.handshakes += 1
                server.connect(self._upstream)
                self._open += [client, server]
                Thread(target=_pump, args=(client, server), daemon=True).start()
                _pump(server, client)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)
