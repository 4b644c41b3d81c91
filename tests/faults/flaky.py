"""A proxy that loses requests, loses answers, delays, and sends requests twice."""

import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from threading import Thread
from time import sleep
from urllib.parse import urlsplit

from tests.waiting import PATIENCE_SECONDS


class _Handler(BaseHTTPRequestHandler):
    server: "_Proxy"
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fate = self.server.random.random()
        self.close_connection = True
        if fate < 0.1:  # the request is lost
            return
        if fate < 0.3:
            sleep(self.server.random.random() * 0.05)
        if 0.3 <= fate < 0.5:  # it is sent twice, at once
            with ThreadPoolExecutor(2) as pool:
                answer, _ = pool.map(self._forward, [body, body])
        else:
            answer = self._forward(body)
        if 0.5 <= fate < 0.6 or answer is None:  # the answer is lost
            return
        if 0.6 <= fate < 0.7:  # it comes again, later
            Thread(target=self._later, args=(body,), daemon=True).start()
        status, payload = answer
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def _forward(self, body: bytes) -> tuple[int, bytes] | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.to_port, timeout=PATIENCE_SECONDS)
        try:
            names = ("Content-Type", "Idempotency-Key")
            headers = {name: self.headers[name] for name in names if name in self.headers}
            connection.request("POST", self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            return None
        finally:
            connection.close()

    def _later(self, body: bytes) -> None:
        sleep(0.05)
        self._forward(body)

    def log_message(self, *_: object) -> None:
        pass


class _Proxy(ThreadingHTTPServer):
    def __init__(self, to_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.to_port = to_port
        self.random = Random(1)


@contextmanager
def flaky(url: str) -> Iterator[str]:
    """Put the proxy before a server and yield its URL."""
    port = urlsplit(url).port
    assert port is not None
    proxy = _Proxy(port)
    thread = Thread(target=proxy.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_address[1]}"
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
