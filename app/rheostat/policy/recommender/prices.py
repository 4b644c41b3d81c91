"""What is known of a placement's epoch costs: measured under power limits, and told by the runs themselves.

A measured batch size costs what its best power limit was measured at. Its runs tell the same with every end, and
have the last word when they keep contradicting the measurement. Where a single run is all there is to go by, or all
that contradicts a measurement, what the other batch sizes cost decides who is believed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_high, median_low

import numpy as np

from rheostat.policy.cost import PowerMeasurement, select
from rheostat.policy.interface import Job, PowerLimitOptimizer
from rheostat.policy.recommender import epoch_cost
from rheostat.policy.recommender.doubt import is_doubtful
from rheostat.policy.recommender.evidence import Arm, safe_log
from rheostat.policy.recommender.grid import Grid
from rheostat.policy.recommender.normal import Array


@dataclass(frozen=True)
class Prices:
    """What is known of epoch costs on a placement.

    Attributes:
        log_costs: Log of the epoch cost of each arm in joules; NaN where it is not known.
        expected_share: Expected share of an epoch's cost that shrinks with its steps.
        shape: What another placement believes of each arm's log epoch cost; None: there is none.
    """

    log_costs: Array
    expected_share: float = 0.5
    shape: Array | None = None

    @property
    def known(self) -> int:
        """How many arms' epoch cost is known."""
        return int(np.count_nonzero(~np.isnan(self.log_costs)))


@dataclass(frozen=True, slots=True)
class MeasuredPrices:
    """What was measured of a placement under power limits.

    Attributes:
        log_costs: Log of the epoch cost of each arm in joules under its best limit; None where it was not measured.
        expected_share: As of :class:`Prices`.
    """

    log_costs: tuple[float | None, ...]
    expected_share: float


def measured_prices(power_limits: PowerLimitOptimizer | None, job: Job, grid: Grid) -> MeasuredPrices:
    """Return what was measured of a placement; without an optimizer of power limits that is nothing."""
    by_size = {size: () if power_limits is None else power_limits.measurements(job, size) for size in grid.batch_sizes}
    share = epoch_cost.step_bound_share(by_size.get(job.default_batch_size, ()), job.max_power_watts, job.gpu_count)
    return MeasuredPrices(tuple(_best(measured, job.max_slowdown) for measured in by_size.values()), share)


def _best(measurements: Sequence[PowerMeasurement], max_slowdown: float | None) -> float | None:
    of_epochs = [measurement for measurement in measurements if measurement.of_an_epoch]
    return safe_log(select(of_epochs, max_slowdown=max_slowdown).cost) if of_epochs else None


def gather_prices(measured: MeasuredPrices, grid: Grid, arms: Mapping[int, Arm], shape: Array | None) -> Prices:
    """Return what is known of a placement's epoch costs.

    Args:
        measured: What was measured.
        grid: Its batch sizes.
        arms: What its runs told.
        shape: What another placement believes of each arm's log epoch cost; None: there is none.
    """
    figures = [
        _figures(cost, arms.get(size, Arm()).epoch_costs)
        for size, cost in zip(grid.batch_sizes, measured.log_costs, strict=True)
    ]
    log_costs = np.array([candidates[0] if candidates else np.nan for candidates, _ in figures])
    unsure = [at for at, (candidates, is_sure) in enumerate(figures) if candidates and not is_sure]
    if unsure:
        believed = log_costs.copy()
        believed[unsure] = np.nan
        if np.isnan(believed).all():
            believed = log_costs.copy()
        for at in unsure:
            others = np.where(np.arange(len(grid)) == at, np.nan, believed)
            if not np.isnan(others).all():
                belief = epoch_cost.posterior(grid, others, measured.expected_share, shape)
                expected = float(belief.mean[at]), float(belief.variance[at])
                log_costs[at] = next((f for f in figures[at][0] if not is_doubtful(f, expected)), np.nan)
    return Prices(log_costs, measured.expected_share, shape)


def _figures(measured: float | None, told: Sequence[float]) -> tuple[tuple[float, ...], bool]:
    """Return what the log epoch cost of an arm may be, the likeliest first, and whether that one is sure."""
    if not told:
        return ((), True) if measured is None else ((measured,), True)
    low, high = median_low(told), median_high(told)
    if is_doubtful(low, (high, 0.0)):
        if measured is None:
            return (high, low), False
        agreeing = not is_doubtful(low, (measured, 0.0)) or not is_doubtful(high, (measured, 0.0))
        return (measured, high, low), agreeing
    if measured is None:
        return (high,), len(told) > 1
    if not is_doubtful(high, (measured, 0.0)):
        return (measured,), True
    return ((high,), True) if len(told) > 1 else ((measured, high), False)
