"""Which of the recorded workloads a replay can run, and which it must leave out."""

from collections.abc import Sequence
from dataclasses import dataclass

from rheostat.errors import InvalidInput
from rheostat.replay.traces import PowerTrace, TrainTrace
from rheostat.replay.world import JobChoice, World, build_world, shared_workloads


@dataclass(frozen=True, slots=True)
class Selection:
    """What is replayed.

    Attributes:
        worlds: Workloads on GPUs, each with its job.
        left_out: Workloads for which no job can be made, each with the reason.
    """

    worlds: tuple[World, ...]
    left_out: tuple[str, ...] = ()


def select(
    train: TrainTrace,
    powers: Sequence[PowerTrace],
    choice: JobChoice,
    *,
    datasets: Sequence[str] = (),
    network: str | None = None,
    optimizer: str | None = None,
) -> Selection:
    """Return what both traces hold and was asked for; what was not named is left out where it makes no job.

    Raises:
        InvalidInput: Nothing is left, or a dataset that was named makes no job.
    """
    worlds: list[World] = []
    left_out: list[tuple[str, InvalidInput]] = []
    for power in powers:
        for workload in shared_workloads(train, power, datasets=datasets, network=network, optimizer=optimizer):
            try:
                worlds.append(build_world(train, power, workload, choice))
            except InvalidInput as error:
                if datasets:
                    raise
                left_out.append((f"{workload} on {power.gpu_model}: {error.message}", error))
    if not worlds:
        raise left_out[0][1]
    return Selection(tuple(worlds), tuple(text for text, _ in left_out))
