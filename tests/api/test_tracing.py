"""Spans for OpenTelemetry, sent to a collector that accepts everything."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.serving import serving


class _Collector(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[bytes] = []


class _Handler(BaseHTTPRequestHandler):
    server: _Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        self.server.received.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the output of the tests clean."""


@pytest.fixture
def collector() -> Iterator[_Collector]:
    with _Collector() as made:
        thread = Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_a_request_is_a_span_of_the_callers_trace(collector: _Collector, tmp_path: Path) -> None:
    endpoint = f"http://127.0.0.1:{collector.server_address[1]}"
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    with serving(
        url, tmp_path / "log", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_COMPRESSION="none"
    ) as server:
        headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01", "X-Request-ID": "traced-1"}
        server.client.get("/v1/jobs/nightly", headers=headers)
        server.terminate()  # sends what is left
        assert "Traceback" not in server.log()
    sent = b"".join(collector.received)
    assert bytes.fromhex(trace_id) in sent
    assert sent.count(b"GET /v1/jobs/{job_id}") == 1  # one span, named by its route
    for name in (b"http.request.method", b"http.response.status_code", b"http.route", b"rheostat.request_id"):
        assert name in sent
    assert b"traced-1" in sent
    assert b"rheostat" in sent


BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("opentelemetry.sdk"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
"""


def test_a_missing_package_is_reported_only_where_tracing_is_configured(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    with serving(url, tmp_path / "log", PYTHONPATH=str(tmp_path)) as server:
        assert server.client.get("/v1/jobs").status_code == 200
        assert "otel" not in server.log()
    environment = {"PYTHONPATH": str(tmp_path), "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    with serving(url, tmp_path / "log", **environment) as server:
        assert server.client.get("/v1/jobs").status_code == 200
        assert server.log().count("[otel]") == 1
