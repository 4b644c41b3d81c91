"""What the page of nodes shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rheostat.dashboard import words
from rheostat.schemas.review import Node
from rheostat.schemas.server import Gpu


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A line of the table of nodes."""

    node: Node
    gpu: str
    limits: str
    enforced: str
    given: str
    ago: str


def node_rows(nodes: Sequence[Node], now: datetime) -> list[NodeRow]:
    """Return the table of nodes."""
    return [
        NodeRow(
            node=node,
            gpu=words.UNKNOWN if node.gpu is None else words.gpu(node.gpu.model, node.gpu.count),
            limits=_limits(node.gpu),
            enforced=_watts(None if node.gpu is None else node.gpu.enforced_limit_watts),
            given=_watts(node.power_limit_watts),
            ago=words.ago(node.seen_at, now),
        )
        for node in nodes
    ]


def _limits(gpu: Gpu | None) -> str:
    if gpu is None or gpu.min_power_limit_watts is None:
        return "cannot be set"
    return f"{gpu.min_power_limit_watts} to {gpu.max_power_limit_watts} W"


def _watts(limit: int | None) -> str:
    return words.UNKNOWN if limit is None else f"{limit} W"
