"""All that bears on a decision about a placement, gathered from the states: read once, then passed around."""

from dataclasses import dataclass
from functools import cached_property
from math import exp

import numpy as np

from rheostat.policy.cost import select
from rheostat.policy.interface import Job, PowerLimitOptimizer, StateStore
from rheostat.policy.learning_curve import LearningCurve
from rheostat.policy.recommender import closing, curves, epoch_cost, transfer
from rheostat.policy.recommender.belief import Belief, Prices, believe
from rheostat.policy.recommender.curves import Expectation
from rheostat.policy.recommender.doubt import DOUBTFUL
from rheostat.policy.recommender.evidence import Evidence, safe_log
from rheostat.policy.recommender.grid import Grid
from rheostat.policy.recommender.normal import Array

SAFE_AFTER = 5
"""After so many runs in a row that did not converge none is stopped until one does."""

FEWEST_FOR_A_SHAPE = 2
"""Epoch costs that another placement must know before their shape says anything."""


@dataclass(frozen=True)
class Knowledge:
    """What is known of a placement.

    Attributes:
        job: The placement.
        own: What was seen of it.
        pooled: The same, with what the job's other placements know.
        prices: What is known of its epoch costs.
    """

    job: Job
    own: Evidence
    pooled: Evidence
    prices: Prices

    @cached_property
    def grid(self) -> Grid:
        """The job's batch sizes."""
        return Grid(tuple(self.own.arms), self.job.default_batch_size)

    @cached_property
    def belief(self) -> Belief | None:
        """What that makes believe; None before any run has converged."""
        return believe(self.job, self.grid, self.pooled, self.prices)

    @cached_property
    def closed(self) -> dict[int, str]:
        """The closed batch sizes, each with the reason."""
        return closing.closed(self.pooled)

    @property
    def fruitless(self) -> int:
        """Runs in a row that did not converge."""
        return sum(self.own.fruitless.values())

    @property
    def is_safe_mode(self) -> bool:
        """Whether so many runs did not converge that the next ones must not be stopped."""
        return self.fruitless >= SAFE_AFTER

    def epoch_cost_joules(self, batch_size: int) -> float | None:
        """Return the known cost of an epoch, or None."""
        log_cost = self.prices.log_costs[self.grid.index(batch_size)]
        return None if np.isnan(log_cost) else exp(log_cost)

    def by_curve(self, belief: Belief, batch_size: int, curve: LearningCurve) -> Expectation:
        """Return what a run's evaluations make of its expected log epochs."""
        prior = belief.run(batch_size)
        if self.job.target is None:
            return prior
        shares = curves.reference(self.grid, self.pooled.arms, batch_size, self.pooled.levels)
        return curves.expect(
            prior, belief.noise, curve, levels=self.pooled.levels, shares=shares, target=self.job.target
        )


def gather(store: StateStore, power_limits: PowerLimitOptimizer | None, job: Job) -> Knowledge:
    """Return what is known of a placement.

    Args:
        store: Evidence by placement.
        power_limits: Whose measurements tell the epoch costs; None: only the runs do.
        job: The placement.
    """
    own = Evidence.from_state(store[job])
    others = {other: Evidence.from_state(store[other]) for other in siblings(store, job)}
    pooled = transfer.pool(own, list(others.values()))
    grid = Grid(tuple(own.arms), job.default_batch_size)
    shape = None
    for other, evidence in others.items():
        theirs = _log_costs(power_limits, other, grid, evidence)
        if np.count_nonzero(~np.isnan(theirs)) >= FEWEST_FOR_A_SHAPE:
            shape = epoch_cost.posterior(grid, theirs, _expected_share(power_limits, other), None).mean
            break
    prices = Prices(_log_costs(power_limits, job, grid, own), _expected_share(power_limits, job), shape)
    return Knowledge(job, own, pooled, prices)


def siblings(store: StateStore, job: Job) -> list[Job]:
    """Return the job's other placements."""
    return [other for other in store if other.job_id == job.job_id and other != job]


def _expected_share(power_limits: PowerLimitOptimizer | None, job: Job) -> float:
    measurements = () if power_limits is None else power_limits.measurements(job, job.default_batch_size)
    return epoch_cost.step_bound_share(measurements, job.max_power_watts, job.gpu_count)


def _log_costs(power_limits: PowerLimitOptimizer | None, job: Job, grid: Grid, evidence: Evidence) -> Array:
    """Return the log epoch cost of each arm, as measured at its best limit or as its runs tell; NaN if neither."""
    costs = np.full(len(grid), np.nan)
    for at, size in enumerate(grid.batch_sizes):
        arm = evidence.arms[size]
        told, runs = arm.epoch_cost, len(arm.epoch_costs)
        measured = () if power_limits is None else power_limits.measurements(job, size)
        of_epochs = [measurement for measurement in measured if measurement.of_an_epoch]
        if of_epochs:
            costs[at] = safe_log(select(of_epochs, max_slowdown=job.max_slowdown).cost)
        if told is not None and (not of_epochs or (runs > 1 and abs(told - costs[at]) > DOUBTFUL)):
            costs[at] = told
    return costs
