"""What is known of a placement's epoch costs: measured under power limits, and reported by the runs themselves.

A measured batch size costs what its best power limit was measured at. Its runs report the same
figure, and prevail when they keep contradicting the measurement. Where there is only a single run, or only a single run
contradicts a measurement, the costs of the other batch sizes decide which is used; so they do where there is only what
a survey measured.

Measured slices are of steps alone, but an epoch of a run ends with an evaluation, which costs about the same at every
batch size: by what the runs report beyond the measurements all of these are raised.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from math import exp, isnan, log, nan
from statistics import median_low

import numpy as np

from rheostat.policy.cost import PowerMeasurement, select
from rheostat.policy.interface import Job, PowerLimitOptimizer
from rheostat.policy.recommender import epoch_cost
from rheostat.policy.recommender.epochs import Posterior
from rheostat.policy.recommender.evidence import Arm, Price, safe_log
from rheostat.policy.recommender.grid import Grid
from rheostat.policy.recommender.normal import Array
from rheostat.policy.recommender.outliers import OUTLIER_LOG_RATIO, is_outlier

SURVEYED_LOG_RATIO = log(2.0)
"""A survey's figure is not used that is off by more than this, and by more than what is usual, from what the others
make expect: a few steps from a cold start are easily wrong, and the batch size may never run to correct them."""

_ENOUGH_TO_CONTRADICT = 2
"""Runs that must agree before they are believed against a measurement that is off by far."""


@dataclass(frozen=True)
class Prices:
    """What is known of epoch costs on a placement.

    Attributes:
        log_costs: Log of the epoch cost of each arm in joules; NaN where it is not known.
        expected_share: Expected share of an epoch's cost that shrinks with its steps.
        shape: What another placement believes of each arm's log epoch cost; None: there is none.
        surveyed: Which arms' cost is known from a survey alone; empty: none.
    """

    log_costs: Array
    expected_share: float = 0.5
    shape: Array | None = None
    surveyed: tuple[bool, ...] = ()

    @cached_property
    def are_seen(self) -> list[bool]:
        """Of which arms the epoch cost was seen, in a run or a survey."""
        return [not isnan(log_cost) for log_cost in self.log_costs.tolist()]

    @cached_property
    def are_known(self) -> list[bool]:
        """Of which arms the epoch cost is known from a run of theirs."""
        surveyed = self.surveyed or (False,) * len(self.are_seen)
        return [is_seen and not was for is_seen, was in zip(self.are_seen, surveyed, strict=True)]

    def posterior(self, grid: Grid) -> Posterior:
        """Return the belief of the arms' log epoch costs."""
        return epoch_cost.posterior(grid, self.log_costs, self.expected_share, self.shape, self.surveyed)


@dataclass(frozen=True, slots=True)
class MeasuredPrices:
    """What was measured of a placement under power limits.

    Attributes:
        log_costs: Log of the epoch cost of each arm in joules under its best limit; None where it was not measured.
        expected_share: As of :class:`Prices`.
        surveyed: Which of them a survey measured, rather than a run.
    """

    log_costs: tuple[float | None, ...]
    expected_share: float
    surveyed: tuple[bool, ...]

    def of(self, batch_sizes: Collection[int], grid: Grid) -> "MeasuredPrices":
        """Return what was measured of some of the batch sizes of a grid."""
        among = [size in batch_sizes for size in grid.batch_sizes]
        log_costs, surveyed = tuple(compress(self.log_costs, among)), tuple(compress(self.surveyed, among))
        return MeasuredPrices(log_costs, self.expected_share, surveyed)


def measured_prices(power_limits: PowerLimitOptimizer | None, job: Job, grid: Grid) -> MeasuredPrices:
    """Return what was measured of a placement; without an optimizer of power limits that is nothing."""
    by_size = {size: () if power_limits is None else power_limits.measurements(job, size) for size in grid.batch_sizes}
    share = epoch_cost.step_bound_share(by_size.get(job.default_batch_size, ()), job.max_power_watts, job.gpu_count)
    return MeasuredPrices(
        tuple(_best(measured, job.max_slowdown) for measured in by_size.values()),
        share,
        tuple(any(m.surveyed for m in measured) for measured in by_size.values()),
    )


def _best(measurements: Sequence[PowerMeasurement], max_slowdown: float | None) -> float | None:
    of_epochs = [measurement for measurement in measurements if measurement.of_an_epoch]
    return safe_log(select(of_epochs, max_slowdown=max_slowdown).cost) if of_epochs else None


def gather_prices(
    measured: MeasuredPrices, grid: Grid, arms: Mapping[int, Arm], price: Price, shape: Array | None
) -> Prices:
    """Return what is known of a placement's epoch costs.

    Args:
        measured: What was measured.
        grid: Its batch sizes.
        arms: What was seen of its runs.
        price: What an outlay costs.
        shape: What another placement believes of each arm's log epoch cost; None: there is none.
    """
    reported = [
        tuple(safe_log(price(epoch)) for epoch in arms[size].epoch_costs) if size in arms else ()
        for size in grid.batch_sizes
    ]
    measured = replace(measured, log_costs=_with_evaluations(measured.log_costs, reported))
    surveyed = tuple(was and not runs for was, runs in zip(measured.surveyed, reported, strict=True))
    figures = [
        _figures(None if was and runs else cost, runs)  # a run knows better than a survey
        for cost, was, runs in zip(measured.log_costs, measured.surveyed, reported, strict=True)
    ]
    log_costs = np.array([candidates[0] if candidates else nan for candidates, _ in figures])
    unsure = [at for at, (candidates, is_sure) in enumerate(figures) if candidates and (surveyed[at] or not is_sure)]
    if unsure:
        sure = log_costs.copy()
        sure[unsure] = np.nan
        if np.isnan(sure).all():
            sure = log_costs.copy()
        for at in unsure:
            others = np.where(np.arange(len(grid)) == at, np.nan, sure)
            if not np.isnan(others).all():
                belief = epoch_cost.posterior(grid, others, measured.expected_share, shape)
                expected = float(belief.mean[at]), float(belief.variance[at])
                largest = SURVEYED_LOG_RATIO if surveyed[at] else OUTLIER_LOG_RATIO
                log_costs[at] = next((f for f in figures[at][0] if not is_outlier(f, expected, largest)), np.nan)
    return Prices(log_costs, measured.expected_share, shape, surveyed)


def _with_evaluations(
    log_costs: Sequence[float | None], reported: Sequence[Sequence[float]]
) -> tuple[float | None, ...]:
    """Return the log costs of epochs with their evaluations, from those of their steps and what runs reported."""
    both = [
        (steps, epoch) for steps, runs in zip(log_costs, reported, strict=True) if steps is not None for epoch in runs
    ]
    alike = [(steps, epoch) for steps, epoch in both if not is_outlier(epoch, (steps, 0.0))]
    if not alike and len(both) < _ENOUGH_TO_CONTRADICT:
        return tuple(log_costs)
    evaluation = max(median_low(exp(epoch) - exp(steps) for steps, epoch in alike or both), 0.0)
    return tuple(None if steps is None else log(exp(steps) + evaluation) for steps in log_costs)


def _figures(measured: float | None, reported: Sequence[float]) -> tuple[tuple[float, ...], bool]:
    """Return what the log epoch cost of an arm may be, the likeliest first, and whether that one is sure."""
    if not reported:
        return ((), True) if measured is None else ((measured,), True)
    ordered = sorted(reported)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]  # the lower and the upper median
    if is_outlier(low, (high, 0.0)):
        if measured is None:
            return (high, low), False
        agreeing = not is_outlier(low, (measured, 0.0)) or not is_outlier(high, (measured, 0.0))
        return (measured, high, low), agreeing
    if measured is None:
        return (high,), len(reported) > 1
    if not is_outlier(high, (measured, 0.0)):
        return (measured,), True
    return ((high,), True) if len(reported) > 1 else ((measured, high), False)
