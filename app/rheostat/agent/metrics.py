"""Metrics in the text format of Prometheus, on loopback only."""

from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

from rheostat.agent.node import Node
from rheostat.agent.states import State
from rheostat.agent.views import View
from rheostat.errors import ConfigurationError

_Sample = tuple[str, float]


def exposition(node: Node) -> str:
    """Give all metrics of a node; what is not known is left out."""
    views = node.views()
    lines: list[str] = []

    def family(name: str, kind: str, help_text: str, samples: Iterable[_Sample]) -> None:
        lines.extend((f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"))
        lines.extend(f"{name}{{{labels}}} {value:g}" for labels, value in samples)

    def by_gpu(value_of: Callable[[View], float | None]) -> list[_Sample]:
        values = [(view, value_of(view)) for view in views]
        return [(f'gpu="{view.description.uuid}"', value) for view, value in values if value is not None]

    def watts(milliwatts: int | None) -> float | None:
        return None if milliwatts is None else milliwatts / 1000

    family(
        "rheostat_agent_power_limit_watts",
        "gauge",
        "Power limit that was last seen.",
        by_gpu(lambda view: watts(view.power_limit_milliwatts)),
    )
    family(
        "rheostat_agent_found_power_limit_watts",
        "gauge",
        "Power limit that is to be put back.",
        by_gpu(lambda view: watts(view.found_milliwatts)),
    )
    family(
        "rheostat_agent_gpu_state",
        "gauge",
        "1 for the state that the GPU is in.",
        [
            (f'gpu="{view.description.uuid}",state="{state}"', float(view.state is state))
            for view in views
            for state in State
        ],
    )
    family(
        "rheostat_agent_gpu_answers",
        "gauge",
        "Whether the driver answers for the GPU.",
        by_gpu(lambda view: float(not node.hangs(view.description.uuid))),
    )
    for name, help_text, value_of in (
        ("foreign_changes", "Limits of ours that somebody else changed.", lambda view: view.foreign_changes),
        ("restores", "Limits that were put back.", lambda view: view.restores),
        ("restore_failures", "Tries to put a limit back that failed.", lambda view: view.failures),
    ):
        family(f"rheostat_agent_{name}_total", "counter", help_text, by_gpu(value_of))
    return "\n".join(lines) + "\n"


class MetricsServer(ThreadingHTTPServer):
    """Serves the metrics of a node on loopback.

    Args:
        port: To listen on; 0: any free one.
        node: The GPUs.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, node: Node) -> None:
        self.node = node
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise ConfigurationError(f"Metrics cannot be served on port {port}: {error.strerror}.") from None

    def server_bind(self) -> None:
        """Bind without asking the name service who loopback is, as the base class would: it may not answer."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]


class _Handler(BaseHTTPRequestHandler):
    server: MetricsServer
    timeout = 10.0

    def do_GET(self) -> None:
        if self.path != "/metrics":
            self.send_error(404)
            return
        content = exposition(self.server.node).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Scrapes are not worth a line each."""
