"""What every part of the check works with."""

from dataclasses import dataclass

from benchmarks.gpu.node import CheckedAgent
from benchmarks.gpu.nvml import Gpu
from benchmarks.gpu.report import Report
from benchmarks.gpu.work import MakeWork


@dataclass(frozen=True, slots=True)
class Context:
    """What every part of the check works with.

    Attributes:
        gpu: The GPU, apart from the agent.
        agent: The agent.
        url: Address of the server.
        make: Begins a training.
        report: Takes what is seen.
        scale: Fraction of the usual time; figures of less than all of it are too short to judge in part.
        runs: Runs of the recurring job.
    """

    gpu: Gpu
    agent: CheckedAgent
    url: str
    make: MakeWork
    report: Report
    scale: float
    runs: int
