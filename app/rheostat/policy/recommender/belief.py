"""The joint belief about a placement's arms: the epochs model and the epoch-cost model.

The cost of a run is its epochs times what an epoch costs at the best power limit, so the logarithms add:
``h = f + g``. Where only the cost of whole runs is known, ``f`` takes all of ``h`` and ``g`` is zero.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, log, sqrt

import numpy as np

from rheostat.policy.estimates import CostPrediction
from rheostat.policy.interface import Job
from rheostat.policy.recommender import epochs
from rheostat.policy.recommender.curves import Expectation
from rheostat.policy.recommender.epochs import Posterior
from rheostat.policy.recommender.evidence import Arm, Evidence, Tally
from rheostat.policy.recommender.grid import Grid
from rheostat.policy.recommender.normal import Array
from rheostat.policy.recommender.outliers import OUTLIER_LOG_RATIO
from rheostat.policy.recommender.prices import Prices

_FIXED_NOISE = 1e-4
_KNOWN = 1e-9


@dataclass(frozen=True)
class RunBelief:
    """What single runs of a placement's arms are expected to need, which no cost bears on.

    Attributes:
        grid: The arms.
        epochs: As of :class:`Belief`.
        noise: As of :class:`Belief`.
        converged: As of :class:`Belief`.
    """

    grid: Grid
    epochs: Posterior
    noise: float
    converged: Sequence[bool]

    def of(self, batch_size: int) -> Expectation:
        """Return what a single run of an arm is expected to need, as log epochs with the noise of the run."""
        return self._runs[batch_size]

    @cached_property
    def _runs(self) -> dict[int, Expectation]:
        figures = zip(self.grid.batch_sizes, self.epochs.mean.tolist(), self.epochs.variance.tolist(), strict=True)
        return {size: Expectation(mean, variance + self.noise) for size, mean, variance in figures}


@dataclass(frozen=True)
class Belief:
    """The joint belief of a placement's arms, one figure per arm; figures are logarithms.

    Attributes:
        grid: The arms.
        epochs: Belief of the log epochs to the target.
        epoch_costs: Belief of the log epoch cost in joules.
        noise: Variance of the log epochs from run to run.
        converged: Which arms have converged, here or on another placement.
        measured: Which arms' epoch cost is known here, from a run.
        weights: How many converged runs each arm's belief rests on.
        lost_joules: What an arm loses on failures for each success; see :attr:`log_cost`.
        has_level: Whether any epoch cost was seen here; else only differences between costs mean anything.
        knows_epochs: Whether any run's number of epochs was seen; else ``epochs`` is what whole costs make of it.
        fixed_cost: What every run costs in joules before its first step, whatever its arm: not part of the logarithms.
    """

    grid: Grid
    epochs: Posterior
    epoch_costs: Posterior
    noise: float
    converged: Sequence[bool]
    measured: Sequence[bool]
    weights: Sequence[float]
    lost_joules: Array
    has_level: bool = True
    knows_epochs: bool = True
    fixed_cost: float = 0.0

    @cached_property
    def log_cost(self) -> Sequence[float]:
        """Expected log cost of the epochs of a success, ``h = log(exp(f + g) + lost)``: failures are paid for, too."""
        run = self.epochs.mean + self.epoch_costs.mean
        costs: list[float] = np.log(np.exp(run) + self.lost_joules).tolist()
        return costs

    @cached_property
    def log_cost_variance(self) -> Array:
        """Variance of ``h``, without the noise of the single run."""
        variance: Array = self.epochs.variance + self.epoch_costs.variance
        return variance

    def best(self, among: Iterable[bool]) -> int | None:
        """Return the cheapest of some arms, or None of none."""
        candidates = [arm for arm, is_among in enumerate(among) if is_among]
        return min(candidates, key=self.log_cost.__getitem__, default=None)

    @cached_property
    def best_converged(self) -> int | None:
        """The cheapest arm that has converged, here or on another placement; None: none has."""
        return self.best(self.converged)

    @cached_property
    def reference_cost(self) -> float | None:
        """What running trials are compared with, ``C0``: the epochs of the best arm that converged; None: none did.

        An arm that converged once, at a cost far below all others, does not count before it converges again.
        """
        known = [converged and measured for converged, measured in zip(self.converged, self.measured, strict=True)]
        best = self.best(known)
        if best is None:
            return None
        known[best] = False
        second = self.best(known)
        seen_once = self.weights[best] <= 1.0
        if second is not None and seen_once and self.log_cost[second] - self.log_cost[best] > OUTLIER_LOG_RATIO:
            best = second
        return exp(self.log_cost[best])

    def run_cost(self, arm: int) -> float:
        """Return the expected cost in joules of a success of an arm, with what it costs before its first step."""
        return self.fixed_cost + exp(self.log_cost[arm])

    def predicted_cost(self, arm: int) -> CostPrediction:
        """Return what a single run of an arm is predicted to cost if it converges: failures are another matter."""
        log_mean = float(self.epochs.mean[arm] + self.epoch_costs.mean[arm])
        return CostPrediction(log_mean, sqrt(float(self.log_cost_variance[arm]) + self.noise), self.fixed_cost)

    @cached_property
    def runs(self) -> "RunBelief":
        """What single runs of the arms are expected to need."""
        return RunBelief(self.grid, self.epochs, self.noise, self.converged)

    def with_pending_run(self, arm: int) -> "Belief":
        """Return the belief given a pending run of an arm: its variance shrinks, its mean stays."""
        costs = self.epoch_costs
        if not self.measured[arm]:
            costs = costs.with_pending_run(arm, _KNOWN)
        return replace(self, epochs=self.epochs.with_pending_run(arm, self.noise), epoch_costs=costs)


def believe_runs(job: Job, grid: Grid, evidence: Evidence) -> RunBelief | None:
    """Return what single runs are expected to need; None before any success, or where some whole costs bear on it.

    Args:
        job: The placement.
        grid: The arms.
        evidence: What was seen of them, pooled with what the job's other placements know.
    """
    arms = [evidence.arms[size] for size in grid.batch_sizes]
    converged = [arm.epochs.count > 0.0 for arm in arms]
    if not any(converged) or any(arm.whole_costs.count for arm in arms):
        return None
    if job.target is None:  # each run takes as many
        certain = Posterior(np.full(len(grid), log(job.max_epochs)), np.zeros((len(grid), len(grid))))
        return RunBelief(grid, certain, _FIXED_NOISE, converged)
    noise = epochs.seed_noise([arm.epochs for arm in arms])
    precision, weighted = _observed_epochs(arms, noise)
    return RunBelief(grid, _given_epochs(grid, converged, precision, weighted), noise, converged)


def believe(job: Job, grid: Grid, evidence: Evidence, prices: Prices) -> Belief | None:
    """Return what the evidence of a placement, pooled with the others', makes believe; None before any success.

    Args:
        job: The placement.
        grid: The arms.
        evidence: What was seen of them.
        prices: What is known of their epoch costs.
    """
    arms = [evidence.arms[size] for size in grid.batch_sizes]
    weights = [arm.converged for arm in arms]
    converged = [weight > 0 for weight in weights]
    if not any(converged):
        return None
    lost = np.array(
        [job.price(arm.lost) / (weight + 1.0) if weight else 0.0 for arm, weight in zip(arms, weights, strict=True)]
    )
    measured, has_level = prices.are_known, any(prices.are_seen)
    runs, whole = believe_runs(job, grid, evidence), []
    if runs is None:
        reference = job.at_reference_knobs().price
        whole = [arm.priced_whole_costs(job.price, reference) for arm in arms]
        if not has_level:
            return _on_whole_costs(grid, whole, prices, converged, lost)
    costs, fixed_part = prices.posterior(grid), evidence.usually_fixed(job.price)
    fixed_cost = 0.0 if fixed_part is None else job.price(fixed_part)
    if runs is not None:
        posterior, noise = runs.epochs, runs.noise
    else:
        noise = epochs.seed_noise([*(arm.epochs for arm in arms), *whole])
        precision, weighted = _observed_epochs(arms, noise)
        for at, tally in enumerate(whole):
            if tally.count:
                added = 1.0 / (noise / tally.count + float(costs.variance[at]))
                precision[at] += added
                weighted[at] += added * (tally.total / tally.count - float(costs.mean[at]))
        posterior = _given_epochs(grid, converged, precision, weighted)
    knows_epochs = any(arm.epochs.count for arm in arms)
    return Belief(
        grid, posterior, costs, noise, converged, measured, weights, lost, has_level, knows_epochs, fixed_cost
    )


def _observed_epochs(arms: Sequence[Arm], noise: float) -> tuple[list[float], list[float]]:
    """Return what runs say of each arm's log epochs: precision, and precision times mean."""
    return (
        [arm.epochs.count / noise + arm.censored[0] for arm in arms],
        [arm.epochs.total / noise + arm.censored[1] for arm in arms],
    )


def _given_epochs(
    grid: Grid, converged: Sequence[bool], precision: Sequence[float], weighted: Sequence[float]
) -> Posterior:
    mean = _anchored(epochs.prior_mean(grid), grid, converged, precision, weighted)
    return epochs.condition(mean, epochs.prior_covariance(grid), precision, weighted)


def _on_whole_costs(
    grid: Grid, whole: Sequence[Tally], prices: Prices, converged: Sequence[bool], lost: Array
) -> Belief:
    """Return the belief where only the cost of whole runs is known: one model of their logarithm."""
    noise = epochs.seed_noise(whole)
    shape = prices.posterior(grid)
    precision = [tally.count / noise for tally in whole]
    weighted = [tally.total / noise for tally in whole]
    belief = epochs.condition(
        _anchored(epochs.prior_mean(grid) + shape.mean, grid, converged, precision, weighted),
        epochs.prior_covariance(grid) + shape.covariance,
        precision,
        weighted,
    )
    nothing = Posterior(np.zeros(len(grid)), np.zeros((len(grid), len(grid))))
    weights = [tally.count for tally in whole]
    return Belief(grid, belief, nothing, noise, converged, converged, weights, lost, True, False)


def _anchored(
    mean: Array, grid: Grid, converged: Sequence[bool], precision: Sequence[float], weighted: Sequence[float]
) -> Array:
    """Return a prior mean lifted to what converged at the arm nearest to the default."""
    candidates = [arm for arm, has_converged in enumerate(converged) if has_converged and precision[arm] > 0]
    at = min(candidates, key=grid.apart.__getitem__)
    anchored: Array = mean + weighted[at] / precision[at] - mean[at]
    return anchored
