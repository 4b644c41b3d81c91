"""Recorded runs as they lie on disk: two CSV files in the format of Zeus's public research artifact.

The train trace has one line per run and metric level: ``dataset, network, batch_size, optimizer, learning_rate,
run, target_metric, target_epoch``. The last is the first epoch at which the run's validation metric reached the
level, ``nan`` if it never did; all lines of one run together are its learning curve, which no GPU changes.

The power trace of a GPU has ``dataset, network, batch_size, optimizer, power_limit, time_per_epoch,
average_power``: seconds of one epoch and mean watts for each batch size under each limit.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from rheostat.csv_lines import Line, read_lines


@dataclass(frozen=True, slots=True, order=True)
class Workload:
    """What is trained on what, and how."""

    dataset: str
    network: str
    optimizer: str

    def __str__(self) -> str:
        return f"{self.dataset}/{self.network}/{self.optimizer}"


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """One recorded run.

    Attributes:
        name: Distinguishes it from the others of its batch size.
        epoch_of_level: For each recorded metric level the epoch that first reached it; None: none did.
    """

    name: str
    epoch_of_level: Mapping[float, int | None]


@dataclass(frozen=True, slots=True)
class EpochFigures:
    """One epoch of one batch size under one power limit.

    Attributes:
        time_seconds: How long it takes.
        power_watts: What the GPU draws on average.
    """

    time_seconds: float
    power_watts: float

    @property
    def energy_joules(self) -> float:
        """Energy of the epoch."""
        return self.time_seconds * self.power_watts


@dataclass(frozen=True, slots=True)
class TrainTrace:
    """All recorded runs of a file.

    Attributes:
        path: Where they come from.
        curves: Per workload and batch size the runs, in the order of the file.
    """

    path: Path
    curves: Mapping[Workload, Mapping[int, tuple[LearningCurve, ...]]]


@dataclass(frozen=True, slots=True)
class PowerTrace:
    """Everything that was measured on one GPU.

    Attributes:
        path: Where it comes from.
        gpu_model: Name of the GPU.
        figures: Per workload, batch size and power limit in watts one epoch; the mean where a file has several.
    """

    path: Path
    gpu_model: str
    figures: Mapping[Workload, Mapping[int, Mapping[int, EpochFigures]]]

    @property
    def limits_watts(self) -> tuple[int, ...]:
        """All limits that any workload was measured under, ascending: the GPU's range."""
        sizes = (by_size for by_size in self.figures.values())
        return tuple(sorted({limit for by_size in sizes for limits in by_size.values() for limit in limits}))


def read_train_trace(path: Path) -> TrainTrace:
    """Read a train trace.

    Raises:
        InvalidInput: It cannot be read; the message names file, line and column.
    """
    columns = ("dataset", "network", "batch_size", "optimizer", "learning_rate", "run")
    runs: dict[tuple[Workload, int, str], dict[float, int | None]] = {}
    for line in read_lines(path, (*columns, "target_metric", "target_epoch")):
        name = f"learning rate {line.text('learning_rate')}, run {line.text('run')}"
        levels = runs.setdefault((_workload(line), line.whole("batch_size"), name), {})
        level, epoch = line.finite("target_metric"), line.whole_or_never("target_epoch")
        if levels.setdefault(level, epoch) != epoch:
            raise line.error("target_epoch", f"contradicts {levels[level]} on an earlier line of the same run")
    curves: dict[Workload, dict[int, list[LearningCurve]]] = defaultdict(lambda: defaultdict(list))
    for (workload, batch_size, name), levels in runs.items():
        curves[workload][batch_size].append(LearningCurve(name, levels))
    return TrainTrace(
        path,
        {workload: {size: tuple(of_size) for size, of_size in by_size.items()} for workload, by_size in curves.items()},
    )


def read_power_trace(path: Path, gpu_model: str | None = None) -> PowerTrace:
    """Read a power trace.

    Args:
        path: The file.
        gpu_model: Name of the GPU; None: the file's name says it (``summary_power_v100.csv``: ``v100``).

    Raises:
        InvalidInput: It cannot be read; the message names file, line and column.
    """
    columns = ("dataset", "network", "batch_size", "optimizer", "power_limit")
    measured: dict[tuple[Workload, int, int], list[tuple[float, float]]] = defaultdict(list)
    for line in read_lines(path, (*columns, "time_per_epoch", "average_power")):
        key = _workload(line), line.whole("batch_size"), line.whole("power_limit")
        measured[key].append((line.positive("time_per_epoch"), line.positive("average_power")))
    figures: dict[Workload, dict[int, dict[int, EpochFigures]]] = defaultdict(lambda: defaultdict(dict))
    for (workload, batch_size, limit), repeats in measured.items():
        times, watts = zip(*repeats, strict=True)
        figures[workload][batch_size][limit] = EpochFigures(fmean(times), fmean(watts))
    name = gpu_model or path.stem.removeprefix("summary_power_")
    return PowerTrace(path, name, {w: dict(by_size) for w, by_size in figures.items()})


def _workload(line: Line) -> Workload:
    return Workload(line.text("dataset"), line.text("network"), line.text("optimizer"))
