"""What is known of a placement's epoch costs: measured under power limits, and told by the runs themselves.

A measured batch size costs what its best power limit was measured at. Its runs tell the same with every end, and
have the last word when they keep contradicting the measurement. Where a single run is all there is to go by, or all
that contradicts a measurement, what the other batch sizes cost decides who is believed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_high, median_low

import numpy as np

from rheostat.policy.cost import select
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


def gather_prices(
    power_limits: PowerLimitOptimizer | None, job: Job, grid: Grid, arms: Mapping[int, Arm], shape: Array | None
) -> Prices:
    """Return what is known of a placement's epoch costs.

    Args:
        power_limits: Whose measurements tell the epoch costs; None: only the runs do.
        job: The placement.
        grid: Its batch sizes.
        arms: What its runs told.
        shape: What another placement believes of each arm's log epoch cost; None: there is none.
    """
    share = _expected_share(power_limits, job)
    figures = [
        _figures(_measured(power_limits, job, size), arms.get(size, Arm()).epoch_costs) for size in grid.batch_sizes
    ]
    first = np.array([candidates[0] if candidates else np.nan for candidates, _ in figures])
    sure = np.where([is_sure for _, is_sure in figures], first, np.nan)
    log_costs = first.copy()
    for at, (candidates, is_sure) in enumerate(figures):
        others = np.where(np.arange(len(grid)) == at, np.nan, first if np.isnan(sure).all() else sure)
        if candidates and not is_sure and not np.isnan(others).all():
            belief = epoch_cost.posterior(grid, others, share, shape)
            expected = float(belief.mean[at]), float(belief.variance[at])
            log_costs[at] = next((figure for figure in candidates if not is_doubtful(figure, expected)), np.nan)
    return Prices(log_costs, share, shape)


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


def _measured(power_limits: PowerLimitOptimizer | None, job: Job, batch_size: int) -> float | None:
    measurements = () if power_limits is None else power_limits.measurements(job, batch_size)
    of_epochs = [measurement for measurement in measurements if measurement.of_an_epoch]
    return safe_log(select(of_epochs, max_slowdown=job.max_slowdown).cost) if of_epochs else None


def _expected_share(power_limits: PowerLimitOptimizer | None, job: Job) -> float:
    measurements = () if power_limits is None else power_limits.measurements(job, job.default_batch_size)
    return epoch_cost.step_bound_share(measurements, job.max_power_watts, job.gpu_count)
