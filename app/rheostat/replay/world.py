"""One recorded workload on one GPU, with the job that recurs on it: what a replay runs in and is measured by."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Literal

from rheostat.errors import InvalidInput
from rheostat.policy.cost import run_cost
from rheostat.policy.learning_curve import Target
from rheostat.replay.traces import EpochFigures, LearningCurve, PowerTrace, TrainTrace, Workload

Direction = Literal["maximize", "minimize"]

NOTHING = EpochFigures(time_seconds=0.0, power_watts=0.0)
"""What nothing needs."""


@dataclass(frozen=True, slots=True)
class JobChoice:
    """The part of a job that a trace does not record; None: as published for the dataset.

    Attributes:
        target: The metric value to reach, one of the recorded levels.
        direction: Whether a higher or a lower metric is better.
        max_epochs: A run that is not at its target by then has failed.
        default_batch_size: What the job would train with otherwise; the largest on offer if that is smaller.
        metric: Name of the metric.
    """

    target: float | None = None
    direction: Direction | None = None
    max_epochs: int | None = None
    default_batch_size: int | None = None
    metric: str = "metric"


PUBLISHED: Mapping[str, JobChoice] = {
    "cifar100": JobChoice(0.60, "maximize", 100, 1024, "accuracy"),
    "imagenet": JobChoice(0.65, "maximize", 100, 256, "accuracy"),
    "librispeech": JobChoice(40.0, "minimize", 16, 256, "word error rate"),
    "sentiment140": JobChoice(0.84, "maximize", 10, 128, "accuracy"),
}
"""The jobs that the paper runs on its recorded workloads (NSDI 2023), by dataset."""


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One recorded run as a job with a target sees it.

    Attributes:
        levels: Epoch and metric level of each step on the way to the target, both from the first to the last.
        epochs_to_target: When it reached the target; None: it never did.
        start: What is reported before the first level: something worse, for what it was is not recorded.
    """

    levels: tuple[tuple[int, float], ...] = ()
    epochs_to_target: int | None = None
    start: float | None = None

    def metric_at(self, epoch: int) -> float | None:
        """Return the best recorded level that was reached by then."""
        best = self.start
        for reached, level in self.levels:
            if reached > epoch:
                break
            best = level
        return best


@dataclass(frozen=True, slots=True)
class Expectation:
    """What one success is expected to cost with one batch size and power limit, failed tries included."""

    batch_size: int
    power_limit_watts: int
    energy_joules: float
    time_seconds: float
    cost: float


@dataclass(frozen=True, slots=True)
class World:
    """A workload on a GPU and the job that recurs on it.

    On offer are the batch sizes of which both are recorded, runs and epochs on the GPU. It is unknown whether one
    that was measured but never trained would converge; taking it for one that fails would charge every policy for
    trying it. The published simulator leaves them out as well. Those whose runs never converged are on offer.

    Attributes:
        workload: What is trained.
        gpu_model: On what.
        target: What a run must reach.
        max_epochs: A run that is not there by then has failed.
        default_batch_size: What the job would train with otherwise.
        min_power_limit_watts: Lowest limit of the GPU.
        max_power_limit_watts: Highest limit of the GPU.
        power_limits_watts: Limits that every batch size was measured under, highest first.
        unrecorded_batch_sizes: Those that were measured on the GPU, but left out for want of a recorded run.
        runs: The recorded runs of every batch size on offer, ascending.
        figures: The steps of one epoch of every batch size under every limit.
        setup: What every run needs before its first step.
        evaluation: What every epoch needs beside its steps.
    """

    workload: Workload
    gpu_model: str
    target: Target
    max_epochs: int
    default_batch_size: int
    min_power_limit_watts: int
    max_power_limit_watts: int
    power_limits_watts: tuple[int, ...]
    unrecorded_batch_sizes: tuple[int, ...]
    runs: Mapping[int, tuple[RecordedRun, ...]]
    figures: Mapping[int, Mapping[int, EpochFigures]]
    setup: EpochFigures = NOTHING
    evaluation: EpochFigures = NOTHING

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes on offer, ascending."""
        return tuple(self.runs)

    def cost(self, energy_joules: float, time_seconds: float, eta_knob: float) -> float:
        """Return the cost in joules of what one GPU spent."""
        return run_cost(energy_joules, time_seconds, eta_knob=eta_knob, max_power_watts=self.max_power_limit_watts)

    def expected(self, batch_size: int, power_limit_watts: int, eta_knob: float) -> Expectation | None:
        """Return what a success costs on average if always tried like this, or None if it never comes.

        With a share ``p`` of the recorded runs at the target within ``max_epochs``, a success takes the mean
        epochs of those, and before it ``(1 - p) / p`` failures of ``max_epochs`` each; each of them sets up anew.
        """
        epochs = [run.epochs_to_target for run in self.runs[batch_size]]
        good = [n for n in epochs if n is not None and n <= self.max_epochs]
        if not good:
            return None
        share = len(good) / len(epochs)
        expected_epochs = fmean(good) + (1 - share) / share * self.max_epochs
        steps, evaluation, setup = self.figures[batch_size][power_limit_watts], self.evaluation, self.setup
        energy = expected_epochs * (steps.energy_joules + evaluation.energy_joules) + setup.energy_joules / share
        time = expected_epochs * (steps.time_seconds + evaluation.time_seconds) + setup.time_seconds / share
        return Expectation(batch_size, power_limit_watts, energy, time, self.cost(energy, time, eta_knob))

    def oracle(self, eta_knob: float) -> Expectation:
        """Return the best that can be expected over all batch sizes and power limits."""
        return min(self._expectations(eta_knob), key=lambda expectation: expectation.cost)

    def baseline(self, eta_knob: float) -> Expectation:
        """Return what is expected of the default batch size at the GPU's highest limit.

        Raises:
            InvalidInput: The default never converges, so there is nothing to compare with.
        """
        expectation = self.expected(self.default_batch_size, self.power_limits_watts[0], eta_knob)
        if expectation is None:
            good = sorted({e.batch_size for e in self._expectations(eta_knob)})
            raise InvalidInput(
                f"{self.workload} on {self.gpu_model}: no recorded run of the default batch size "
                f"{self.default_batch_size} reached {self.target.value:g} within {self.max_epochs} epochs.",
                hint=(
                    f"Choose --default-batch-size among {listed(good)}."
                    if good
                    else "None of any batch size did: pass another --target or more --max-epochs."
                ),
            )
        return expectation

    def _expectations(self, eta_knob: float) -> Iterator[Expectation]:
        for size in self.runs:
            for limit in self.power_limits_watts:
                expectation = self.expected(size, limit, eta_knob)
                if expectation is not None:
                    yield expectation


def shared_workloads(
    train: TrainTrace,
    power: PowerTrace,
    *,
    datasets: Sequence[str] = (),
    network: str | None = None,
    optimizer: str | None = None,
) -> tuple[Workload, ...]:
    """Return the workloads that both traces hold and that were asked for, in alphabetical order.

    Raises:
        InvalidInput: There are none, or none of a dataset that was asked for.
    """
    shared = sorted(set(train.curves) & set(power.figures))
    chosen = tuple(
        workload
        for workload in shared
        if (not datasets or workload.dataset in datasets)
        and network in (None, workload.network)
        and optimizer in (None, workload.optimizer)
    )
    missing = sorted(set(datasets) - {workload.dataset for workload in chosen})
    if missing or not chosen:
        raise InvalidInput(
            f"{train.path} and {power.path} share no workload{f' of {listed(missing)}' if missing else ''}"
            f"{' with that network and optimizer' if network or optimizer else ''}.",
            hint=f"Both hold: {listed(shared) or 'nothing'}.",
        )
    return chosen


def build_world(train: TrainTrace, power: PowerTrace, workload: Workload, choice: JobChoice) -> World:
    """Return a workload on a GPU with its job.

    Args:
        train: Holds the workload's runs.
        power: Holds its epochs on the GPU.
        workload: One of both.
        choice: What is chosen about the job; the rest is as published.

    Raises:
        InvalidInput: Something is neither chosen nor published, or is not what was recorded.
    """
    curves = train.curves[workload]
    measured = power.figures[workload]
    figures = {size: measured[size] for size in sorted(measured) if size in curves}
    target, max_epochs, default = _complete(workload, choice)
    if not figures:
        raise InvalidInput(
            f"{train.path} and {power.path} share no batch size of {workload}.",
            hint=f"Runs were recorded of {listed(sorted(curves))}, epochs of {listed(sorted(measured))}.",
        )
    limits = set.intersection(*(set(by_limit) for by_limit in figures.values()))
    if not limits:
        raise InvalidInput(
            f"{power.path}: no power limit was measured at every batch size of {workload}.",
            hint="Leave out the batch sizes that were measured under too few limits.",
        )
    return World(
        workload=workload,
        gpu_model=power.gpu_model,
        target=target,
        max_epochs=max_epochs,
        default_batch_size=_offered_default(power, workload, default, tuple(figures)),
        min_power_limit_watts=power.limits_watts[0],
        max_power_limit_watts=power.limits_watts[-1],
        power_limits_watts=tuple(sorted(limits, reverse=True)),
        unrecorded_batch_sizes=tuple(sorted(set(measured) - set(curves))),
        runs={size: tuple(_seen(train, workload, size, curve, target) for curve in curves[size]) for size in figures},
        figures=figures,
    )


def _complete(workload: Workload, choice: JobChoice) -> tuple[Target, int, int]:
    """Fill in what is published, and name every option that is still missing."""
    published = PUBLISHED.get(workload.dataset, JobChoice(direction="maximize"))
    target = published.target if choice.target is None else choice.target
    max_epochs = choice.max_epochs or published.max_epochs
    default = choice.default_batch_size or published.default_batch_size
    options = {"--target": target, "--max-epochs": max_epochs, "--default-batch-size": default}
    if target is None or max_epochs is None or default is None:
        missing = [option for option, value in options.items() if value is None]
        raise InvalidInput(
            f"For {workload.dataset} there is no published job to go by, so {listed(missing)} must be given.",
            hint=f"Or name the datasets to replay with --dataset; known without more: {listed(PUBLISHED)}.",
        )
    maximize = (choice.direction or published.direction) == "maximize"
    return Target(published.metric, target, maximize), max_epochs, default


def _offered_default(power: PowerTrace, workload: Workload, default: int, offered: Sequence[int]) -> int:
    default = min(default, offered[-1])
    if default not in offered:
        raise InvalidInput(
            f"{power.path}: the default batch size {default} of {workload} is not among those recorded.",
            hint=f"Choose --default-batch-size among {listed(offered)}.",
        )
    return default


def _seen(train: TrainTrace, workload: Workload, batch_size: int, curve: LearningCurve, target: Target) -> RecordedRun:
    """Return a run with the levels up to the target, checked to rise (or fall) towards it."""
    where = f"{train.path}: {workload}, batch size {batch_size}, {curve.name}"
    levels = sorted(curve.epoch_of_level, reverse=not target.maximize)
    if target.value not in curve.epoch_of_level:
        raise InvalidInput(
            f"{where} has no line for the target {target.value:g}.",
            hint=f"Choose --target among {listed(f'{level:g}' for level in levels)}.",
        )
    epochs = [math.inf if (epoch := curve.epoch_of_level[level]) is None else epoch for level in levels]
    for (easier, earlier), (harder, later) in pairwise(zip(levels, epochs, strict=True)):
        if later < earlier:
            raise InvalidInput(
                f"{where} reached {harder:g} before {easier:g}, but the "
                f"{'higher' if target.maximize else 'lower'} metric is taken for the better.",
                hint=f"Pass --direction {'minimize' if target.maximize else 'maximize'}, or correct the lines.",
            )
    way = levels[: levels.index(target.value) + 1]
    reached = tuple((epoch, level) for level in way if (epoch := curve.epoch_of_level[level]) is not None)
    start = way[0] - (way[1] - way[0]) if len(way) > 1 else None
    return RecordedRun(reached, curve.epoch_of_level[target.value], start)


def listed(values: Iterable[object]) -> str:
    """Return values as a sentence lists them."""
    return ", ".join(str(value) for value in values)
