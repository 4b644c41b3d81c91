"""The recorded worlds: all that can be made of the traces in a folder."""

from collections.abc import Iterator
from pathlib import Path

from rheostat.errors import InvalidInput
from rheostat.replay.traces import TrainTrace, Workload, read_power_trace, read_train_trace
from rheostat.replay.world import PUBLISHED, JobChoice, World, build_world, shared_workloads


def recorded_worlds(folder: Path) -> list[World]:
    """Return a world for every workload and GPU that the folder's ``*train*.csv`` and ``*power*.csv`` share.

    Raises:
        InvalidInput: There is none, or a file cannot be read.
    """
    worlds = [
        world
        for train in sorted(folder.rglob("*train*.csv"))
        for power in sorted(folder.rglob("*power*.csv"))
        for world in _worlds(train, power)
    ]
    if not worlds:
        raise InvalidInput(
            f"There are no recorded worlds in {folder}.",
            hint="It must hold *train*.csv and *power*.csv in the format that `rheostat replay` reads.",
        )
    return worlds


def _worlds(train: Path, power: Path) -> Iterator[World]:
    runs, epochs = read_train_trace(train), read_power_trace(power)
    for workload in sorted(set(runs.curves) & set(epochs.figures)):
        (shared,) = shared_workloads(
            runs, epochs, datasets=[workload.dataset], network=workload.network, optimizer=workload.optimizer
        )
        choice = PUBLISHED.get(workload.dataset)
        yield build_world(runs, epochs, shared, _plausible(runs, shared) if choice is None else choice)


def _plausible(trace: TrainTrace, workload: Workload) -> JobChoice:
    """Choose a job where none was published: the hardest level that most runs of most batch sizes reached.

    The default is the middle one of the batch sizes that reach it, the limit the longest recorded run of those.
    """
    curves = trace.curves[workload]
    (first, *_), *_ = curves.values()
    levels = sorted(first.epoch_of_level)
    early, late = first.epoch_of_level[levels[0]], first.epoch_of_level[levels[-1]]
    maximize = late is None or (early is not None and early <= late)
    for level in reversed(levels) if maximize else levels:
        epochs = {
            size: [epoch for run in runs if (epoch := run.epoch_of_level[level]) is not None]
            for size, runs in curves.items()
        }
        reaching = sorted(size for size, reached in epochs.items() if 2 * len(reached) > len(curves[size]))
        if 2 * len(reaching) > len(curves):
            longest = max(max(epochs[size]) for size in reaching)
            default = reaching[len(reaching) // 2]
            return JobChoice(level, "maximize" if maximize else "minimize", int(longest), default)
    raise InvalidInput(f"{trace.path}: most runs of {workload} reached none of the recorded levels {levels}.")
