"""What is believed of a placement's arms: the epochs model and the epoch-cost model, joined.

The cost of a run is its epochs times what an epoch costs at the best power limit, so the logarithms add:
``h = f + g``. Where nobody ever told the epochs or the cost of an epoch, only what whole runs cost, ``f`` takes all
of ``h`` and ``g`` is nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, log

import numpy as np

from rheostat.policy.recommender import epoch_cost, epochs
from rheostat.policy.recommender.curves import Expectation
from rheostat.policy.recommender.doubt import DOUBTFUL
from rheostat.policy.recommender.epochs import Posterior
from rheostat.policy.recommender.evidence import Evidence, Tally
from rheostat.policy.recommender.grid import Grid
from rheostat.policy.recommender.normal import Array
from rheostat.policy.recommender.prices import Prices

_FIXED_NOISE = 1e-4
_KNOWN = 1e-9


@dataclass(frozen=True)
class Belief:
    """The joint belief of a placement's arms; arrays are of shape (arms,), figures are logarithms.

    Attributes:
        grid: The arms.
        epochs: Belief of the log epochs to the target.
        epoch_costs: Belief of the log epoch cost in joules.
        noise: Variance of the log epochs from run to run.
        converged: Which arms have converged, here or on another placement.
        measured: Which arms' epoch cost is known here.
        weights: How many converged runs each arm's belief rests on.
        lost_joules: What an arm loses on failures for each success; see :attr:`log_cost`.
    """

    grid: Grid
    epochs: Posterior
    epoch_costs: Posterior
    noise: float
    converged: np.ndarray
    measured: np.ndarray
    weights: Array
    lost_joules: Array

    @cached_property
    def log_cost(self) -> Array:
        """Expected log cost of a success, ``h = log(exp(f + g) + lost)``: failures are paid for, too."""
        run = self.epochs.mean + self.epoch_costs.mean
        cost: Array = np.log(np.exp(run) + self.lost_joules)
        return cost

    @cached_property
    def log_cost_variance(self) -> Array:
        """Variance of ``h``, without the noise of the single run."""
        variance: Array = self.epochs.variance + self.epoch_costs.variance
        return variance

    def best(self, among: np.ndarray) -> int | None:
        """Return the cheapest of some arms, or None of none."""
        candidates = np.nonzero(among)[0]
        if not len(candidates):
            return None
        return int(candidates[np.argmin(self.log_cost[candidates])])

    @cached_property
    def bar(self) -> float | None:
        """Cost in joules that running runs are measured by, ``C0``: of the best arm that converged; None: none did.

        An arm that converged once, at a cost that no other comes near to, is not believed before it did so again.
        """
        known = self.converged & self.measured
        best = self.best(known)
        if best is None:
            return None
        others = known.copy()
        others[best] = False
        second = self.best(others)
        seen_once = self.weights[best] <= 1.0
        if second is not None and seen_once and self.log_cost[second] - self.log_cost[best] > DOUBTFUL:
            best = second
        return exp(self.log_cost[best])

    def run(self, batch_size: int) -> Expectation:
        """Return what a single run of an arm is expected to need, as log epochs with the noise of the run."""
        at = self.grid.index(batch_size)
        return Expectation(float(self.epochs.mean[at]), float(self.epochs.variance[at]) + self.noise)

    def foresee(self, arm: int) -> "Belief":
        """Return the belief with a run of an arm in flight: its doubt is about to go, its mean stays."""
        costs = self.epoch_costs
        if not self.measured[arm]:
            costs = costs.foresee(arm, _KNOWN)
        return replace(self, epochs=self.epochs.foresee(arm, self.noise), epoch_costs=costs)


def believe(fixed_epochs: int | None, grid: Grid, evidence: Evidence, prices: Prices) -> Belief | None:
    """Return what the evidence of a placement, pooled with the others', makes believe; None before any success.

    Args:
        fixed_epochs: How many each run takes, of a job without a target; None: that is what is to be learnt.
        grid: The arms.
        evidence: What was seen of them.
        prices: What is known of their epoch costs.
    """
    arms = [evidence.arms[size] for size in grid.batch_sizes]
    converged = np.array([arm.converged > 0 for arm in arms])
    if not converged.any():
        return None
    weights = np.array([arm.converged for arm in arms])
    lost = np.array([arm.lost_joules / (arm.converged + 1.0) if arm.converged else 0.0 for arm in arms])
    measured = ~np.isnan(prices.log_costs)
    run_epochs, whole = [arm.epochs for arm in arms], [arm.whole_costs for arm in arms]
    if not measured.any() and any(tally.count for tally in whole):
        return _on_whole_costs(grid, whole, prices, converged, lost)
    costs = epoch_cost.posterior(grid, prices.log_costs, prices.expected_share, prices.shape)
    if fixed_epochs is not None and not any(tally.count for tally in whole):
        fixed = np.full(len(grid), log(fixed_epochs))
        certain = Posterior(fixed, np.zeros((len(grid), len(grid))))
        return Belief(grid, certain, costs, _FIXED_NOISE, converged, measured, weights, lost)
    noise = epochs.seed_noise(*_columns([*run_epochs, *whole]))
    counts, totals, _ = _columns(run_epochs)
    site_precision, site_weighted = np.array([arm.site for arm in arms]).T
    precision, weighted = counts / noise + site_precision, totals / noise + site_weighted
    for at, tally in enumerate(whole):
        if tally.count:
            added = 1.0 / (noise / tally.count + costs.variance[at])
            precision[at] += added
            weighted[at] += added * (tally.total / tally.count - costs.mean[at])
    belief = epochs.condition(
        _anchored(epochs.prior_mean(grid), grid, converged, precision, weighted),
        epochs.prior_covariance(grid),
        precision,
        weighted,
    )
    return Belief(grid, belief, costs, noise, converged, measured, weights, lost)


def _on_whole_costs(grid: Grid, whole: Sequence[Tally], prices: Prices, converged: np.ndarray, lost: Array) -> Belief:
    """Return the belief where only the cost of whole runs is known: one model of their logarithm."""
    counts, totals, _ = columns = _columns(whole)
    noise = epochs.seed_noise(*columns)
    shape = epoch_cost.posterior(grid, prices.log_costs, prices.expected_share, prices.shape)
    precision, weighted = counts / noise, totals / noise
    belief = epochs.condition(
        _anchored(epochs.prior_mean(grid) + shape.mean, grid, converged, precision, weighted),
        epochs.prior_covariance(grid) + shape.covariance,
        precision,
        weighted,
    )
    nothing = Posterior(np.zeros(len(grid)), np.zeros((len(grid), len(grid))))
    return Belief(grid, belief, nothing, noise, converged, converged, counts, lost)


def _anchored(mean: Array, grid: Grid, converged: np.ndarray, precision: Array, weighted: Array) -> Array:
    """Return a prior mean lifted to what converged at the arm nearest to the default."""
    candidates = np.nonzero(converged & (precision > 0))[0]
    at = candidates[np.argmin(np.abs(grid.distance[candidates]))]
    anchored: Array = mean + weighted[at] / precision[at] - mean[at]
    return anchored


def _columns(tallies: Sequence[Tally]) -> tuple[Array, Array, Array]:
    """Return counts, sums and sums of squares."""
    columns = np.array([(tally.count, tally.total, tally.squares) for tally in tallies]).T
    return columns[0], columns[1], columns[2]
