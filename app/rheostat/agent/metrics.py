"""Metrics in the text format of Prometheus, on loopback only."""

from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer

from rheostat.agent.node import Node
from rheostat.agent.states import GuardState
from rheostat.agent.status import GpuStatus, to_watts
from rheostat.errors import ConfigurationError

_Sample = tuple[str, float]


def exposition(node: Node) -> str:
    """Return all metrics of a node; unknown values are left out."""
    statuses = node.statuses()
    lines: list[str] = []

    def family(name: str, kind: str, help_text: str, samples: Iterable[_Sample]) -> None:
        lines.extend((f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"))
        lines.extend(f"{name}{{{labels}}} {value:g}" for labels, value in samples)

    def by_gpu(value_of: Callable[[GpuStatus], float | None]) -> list[_Sample]:
        values = [(status, value_of(status)) for status in statuses]
        return [(f'gpu="{status.uuid}"', value) for status, value in values if value is not None]

    family(
        "rheostat_agent_power_limit_watts",
        "gauge",
        "Power limit as last read.",
        by_gpu(lambda status: to_watts(status.power_limit_milliwatts)),
    )
    family(
        "rheostat_agent_found_power_limit_watts",
        "gauge",
        "Power limit to restore.",
        by_gpu(lambda status: to_watts(status.found_milliwatts)),
    )
    family(
        "rheostat_agent_gpu_state",
        "gauge",
        "1 for the current state of the GPU.",
        [
            (f'gpu="{status.uuid}",state="{state}"', float(status.state is state))
            for status in statuses
            for state in GuardState
        ],
    )
    family(
        "rheostat_agent_gpu_answers",
        "gauge",
        "Whether the driver responds for the GPU.",
        by_gpu(lambda status: float(not node.is_hung(status.uuid))),
    )
    for name, help_text, value_of in (
        ("foreign_changes", "Limits that another process changed.", lambda status: status.foreign_changes),
        ("restores", "Limits restored.", lambda status: status.restores),
        ("restore_failures", "Failed attempts to restore a limit.", lambda status: status.restore_failures),
    ):
        family(f"rheostat_agent_{name}_total", "counter", help_text, by_gpu(value_of))
    return "\n".join(lines) + "\n"


class MetricsServer(ThreadingHTTPServer):
    """Serves the metrics of a node on loopback.

    Args:
        port: The port to listen on; 0: any free one.
        node: The GPUs.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, node: Node) -> None:
        self.node = node
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise ConfigurationError(
                f"Port {port} cannot be used for metrics: {error.strerror}.",
                hint="Choose another with --metrics-port; 0 takes any free one.",
            ) from None

    def server_bind(self) -> None:
        """Bind without the base class's name service lookup, which may hang."""
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
        """Do not log scrapes."""
