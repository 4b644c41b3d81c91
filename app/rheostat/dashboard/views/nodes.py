"""What the page of nodes shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from rheostat.dashboard import words
from rheostat.schemas.nodes import ReportedGpu
from rheostat.schemas.review import Node
from rheostat.schemas.server import UNKNOWN_MODEL, Gpu

NOT_REPORTED = "not reported"

_AGENT = {"ready": "ready", "not_ready": "not ready", "absent": "no agent", "not_needed": "not needed"}
_ENERGY = {
    "counter": "counter",
    "power_samples": "power samples",
    "power_readings": "power readings",
}
_CUT_BY = {"driver": "the driver's range", "site": "the site file", "found": "the limit found before the run"}
_ROUNDING_WATTS = 1.0
"""A driver may round a limit, as to whole watts."""


@dataclass(frozen=True, slots=True)
class GpuLine:
    """GPUs of a node that have the same limits."""

    name: str
    found: str
    ordered: str
    applied: str
    enforced: str
    is_cut: bool


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A line of the table of nodes."""

    node: Node
    gpu: str
    limits: str
    agent: str
    is_ready: bool
    problem: str
    gpus: list[GpuLine]
    energy: str
    ago: str


def node_rows(nodes: Sequence[Node], now: datetime) -> list[NodeRow]:
    """Return the table of nodes."""
    return [
        NodeRow(
            node=node,
            gpu=words.UNKNOWN if node.gpu is None else words.gpu(node.gpu.model, node.gpu.count),
            limits=_limits(node.gpu),
            agent=_agent(node),
            is_ready=node.report is None or node.report.agent in ("ready", "not_needed") or not _has_gpu(node),
            problem="" if node.report is None else " ".join(node.report.problems),
            gpus=_lines(node),
            energy=_energy(node),
            ago="now" if node.state == "running" else words.ago(node.seen_at, now),
        )
        for node in nodes
    ]


def is_cut(gpu: ReportedGpu) -> bool:
    """Return whether another limit than the ordered one is in force."""
    ordered, in_force = gpu.ordered_watts, _in_force(gpu)
    return ordered is not None and in_force is not None and abs(ordered - in_force) > _ROUNDING_WATTS


def cut_text(gpu: ReportedGpu) -> str:
    """Return which limit is in force instead of the ordered one, and why."""
    why = _CUT_BY.get(gpu.limited_by or "", "a cap from outside the driver")
    return f"{words.watts(_in_force(gpu))} instead of {words.watts(gpu.ordered_watts)}, by {why}"


def _in_force(gpu: ReportedGpu) -> float | None:
    known = [watts for watts in (gpu.applied_watts, gpu.enforced_watts) if watts is not None]
    return min(known, default=None)


def _limits(gpu: Gpu | None) -> str:
    if gpu is None or gpu.min_power_limit_watts is None:
        return "cannot be set"
    return f"{gpu.min_power_limit_watts} to {words.watts(gpu.max_power_limit_watts)}"


def _agent(node: Node) -> str:
    if node.report is None:
        return NOT_REPORTED
    return "not needed" if node.report.agent == "absent" and not _has_gpu(node) else _AGENT[node.report.agent]


def _has_gpu(node: Node) -> bool:
    """Return whether a GPU is known there; where none is, an agent has nothing to do."""
    return node.gpu is None or node.gpu.model != UNKNOWN_MODEL


def _energy(node: Node) -> str:
    source = None if node.report is None else node.report.energy_source
    if node.gpu is not None and node.gpu.simulated:
        return "simulated"
    if node.energy == "estimated" or source is None:
        return node.energy
    return node.energy if node.energy == "unknown" and node.state != "running" else _ENERGY[source]


def _lines(node: Node) -> list[GpuLine]:
    """Return the limits of a node's GPUs, once for those that have the same."""
    if node.report is None or not node.report.gpus:
        enforced = None if node.gpu is None else node.gpu.enforced_limit_watts
        return [
            GpuLine(
                name="",
                found=words.UNKNOWN,
                ordered=words.watts(node.power_limit_watts),
                applied=words.UNKNOWN,
                enforced=words.watts(enforced),
                is_cut=False,
            )
        ]
    groups = [list(group) for _, group in groupby(node.report.gpus, key=lambda gpu: gpu.model_copy(update={"gpu": ""}))]
    return [_line(group, is_only=len(groups) == 1) for group in groups]


def _line(gpus: Sequence[ReportedGpu], *, is_only: bool) -> GpuLine:
    gpu = gpus[0]
    return GpuLine(
        name="" if is_only else " ".join(one.gpu[:12] for one in gpus),
        found=words.watts(gpu.found_watts),
        ordered=words.watts(gpu.ordered_watts),
        applied=words.watts(gpu.applied_watts),
        enforced=words.watts(gpu.enforced_watts),
        is_cut=is_cut(gpu),
    )
