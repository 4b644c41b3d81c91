"""All that bears on a decision about a placement, gathered from the states: read once, then passed around."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import exp

import numpy as np

from rheostat.policy.interface import Job, PowerLimitOptimizer, Result, State, StateStore
from rheostat.policy.learning_curve import LearningCurve
from rheostat.policy.recommender import closing, curves, epoch_cost, transfer
from rheostat.policy.recommender.belief import Belief, believe
from rheostat.policy.recommender.curves import Expectation
from rheostat.policy.recommender.doubt import is_doubtful
from rheostat.policy.recommender.evidence import Evidence, safe_log
from rheostat.policy.recommender.grid import Grid, grid_of
from rheostat.policy.recommender.prices import MeasuredPrices, Prices, gather_prices, measured_prices

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
        grid: The job's batch sizes.
        prices: What is known of its epoch costs.
        belief: What that makes believe; None before any run has converged.
    """

    job: Job
    own: Evidence
    pooled: Evidence
    grid: Grid
    prices: Prices
    belief: Belief | None

    @cached_property
    def closed(self) -> dict[int, str]:
        """The closed batch sizes, each with the reason."""
        return closing.closed(self.pooled, None if self.belief is None else self.belief.bar, self.job.beta_knob)

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

    def believable_cost(self, result: Result) -> float:
        """Return what a run cost in joules, or what its epochs usually cost if the two contradict and that is less.

        An arm is not to be given up for a figure that may be off by a thousand.
        """
        if self.belief is None or self.belief.bar is None or not result.epochs:
            return result.cost
        usual = exp(self.belief.epoch_costs.mean[self.grid.index(result.batch_size)]) * result.epochs
        return min(result.cost, usual) if is_doubtful(safe_log(result.cost), (safe_log(usual), 0.0)) else result.cost

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
        store: Evidence by placement; what it holds is replaced, never changed in place.
        power_limits: Whose measurements tell the epoch costs; None: only the runs do.
        job: The placement.
    """
    placements = [job, *siblings(store, job)]
    states = tuple(_ById(store[placement]) for placement in placements)
    grid = grid_of(tuple(sorted(int(size) for size in states[0].state["arms"])), job.default_batch_size)
    measured = tuple(measured_prices(power_limits, placement, grid) for placement in placements)
    return Knowledge(job, *_derive(states, measured, grid, job.max_epochs if job.target is None else None))


class _ById:
    """A state, equal to itself alone: cheaper to look up than by what it holds."""

    __slots__ = ("state",)

    def __init__(self, state: State) -> None:
        self.state = state

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and other.state is self.state

    def __hash__(self) -> int:
        return id(self.state)


@lru_cache(maxsize=128)  # a decision mostly rests on what the one before it left
def _derive(
    states: tuple[_ById, ...], measured: tuple[MeasuredPrices, ...], grid: Grid, fixed_epochs: int | None
) -> tuple[Evidence, Evidence, Grid, Prices, Belief | None]:
    """Return all of a :class:`Knowledge` but its job; the first of the states and prices are the placement's own."""
    own, *others = [Evidence.from_state(kept.state) for kept in states]
    pooled = transfer.pool(own, others)
    shape = None
    for evidence, theirs in zip(others, measured[1:], strict=True):
        prices = gather_prices(theirs, grid, evidence.arms, None)
        if prices.known >= FEWEST_FOR_A_SHAPE:
            shape = epoch_cost.posterior(grid, prices.log_costs, prices.expected_share, None).mean
            break
    prices = gather_prices(measured[0], grid, own.arms, shape)
    return own, pooled, grid, prices, believe(fixed_epochs, grid, pooled, prices)


def siblings(store: StateStore, job: Job) -> list[Job]:
    """Return the job's other placements."""
    return [other for other in store if other.job_id == job.job_id and other != job]
