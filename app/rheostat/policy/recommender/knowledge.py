"""All that bears on a decision about a placement, gathered from the states: read once, then passed around."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from math import exp, isnan
from operator import attrgetter
from typing import NamedTuple

from rheostat.policy.cost import Outlay
from rheostat.policy.estimates import Account
from rheostat.policy.identity import ByIdentity
from rheostat.policy.interface import Job, PowerLimitOptimizer, State, StateStore
from rheostat.policy.learning_curve import LearningCurve
from rheostat.policy.recommender import closing, curves, transfer
from rheostat.policy.recommender.account import open_account
from rheostat.policy.recommender.belief import Belief, RunBelief, believe, believe_runs
from rheostat.policy.recommender.curves import Expectation
from rheostat.policy.recommender.evidence import UNSEEN, Evidence, evidence_of, safe_log
from rheostat.policy.recommender.grid import Grid, grid_of
from rheostat.policy.recommender.outliers import is_outlier
from rheostat.policy.recommender.prices import MeasuredPrices, Prices, gather_prices, measured_prices

SAFE_AFTER = 5
"""After so many runs in a row that did not converge none is stopped until one does."""

LEAST_SHARE_OF_EPOCHS = 0.1
"""What the epochs of a run cost at least of all that it cost, when it is unknown what went by before them."""

FEWEST_FOR_A_SHAPE = 2
"""Epoch costs that another placement must know before their shape is used."""

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Knowledge:
    """What is known of a placement.

    Attributes:
        job: The placement; another trial of it may be the one that is being decided.
        own: What was seen of it.
        pooled: The same, with what the job's other placements know.
        grid: The job's batch sizes.
        find_prices: Finds what is known of its epoch costs, which not all questions need.
    """

    job: Job
    own: Evidence
    pooled: Evidence
    grid: Grid
    find_prices: Callable[[], Prices]

    @cached_property
    def prices(self) -> Prices:
        """What is known of the epoch costs."""
        return self.find_prices()

    @cached_property
    def belief(self) -> Belief | None:
        """What is believed of costs and epochs; None before any run has converged."""
        return believe(self.job, self.grid, self.pooled, self.prices)

    @cached_property
    def runs(self) -> RunBelief | None:
        """What is believed of epochs; None: nothing is, or it is only what the costs of whole runs make of it."""
        runs = believe_runs(self.job, self.grid, self.pooled)
        if runs is None and self.belief is not None and self.belief.knows_epochs:
            return self.belief.runs
        return runs

    @cached_property
    def closed(self) -> dict[int, str]:
        """The closed batch sizes, each with the reason."""
        reference_cost = None if self.belief is None else self.belief.reference_cost
        return closing.closed(self.pooled, self.job.price, reference_cost, self.job.beta_knob)

    @cached_property
    def account(self) -> Account | None:
        """The account against the default; None while nothing has converged, or the cost of an epoch is not known."""
        if self.belief is None or not self.belief.has_level:
            return None
        default = self.grid.index(self.job.default_batch_size)
        return open_account(self.own, self.job.price, self.belief, default, self.job.exploration_budget_runs)

    @cached_property
    def unconverged_runs(self) -> int:
        """Runs in a row that did not converge."""
        return sum(self.own.unconverged.values())

    @property
    def is_safe_mode(self) -> bool:
        """Whether so many runs did not converge that the next ones must not be stopped."""
        return self.unconverged_runs >= SAFE_AFTER

    def epoch_cost_joules(self, batch_size: int) -> float | None:
        """Return the known cost of an epoch, or None."""
        return self._epoch_costs_joules[batch_size]

    @cached_property
    def _epoch_costs_joules(self) -> dict[int, float | None]:
        log_costs = zip(self.grid.batch_sizes, self.prices.log_costs.tolist(), strict=True)
        return {size: None if isnan(log_cost) else exp(log_cost) for size, log_cost in log_costs}

    @cached_property
    def usually_fixed(self) -> Outlay | None:
        """What a run usually takes before its first step; None: unknown."""
        return self.own.usually_fixed(self.job.price)

    @cached_property
    def _usual_fixed_cost(self) -> float:
        return 0.0 if self.usually_fixed is None else self.job.price(self.usually_fixed)

    def believable(self, outlay: Outlay, batch_size: int, epochs: float | None) -> Outlay:
        """Return what a run took, or what such a run usually takes if that is less and the figure an outlier.

        No arm is given up because of a figure that may be off by a thousand.
        """
        if not epochs or self.belief is None or self.belief.reference_cost is None:
            return outlay
        cost = self.job.price(outlay)
        usual = self._expected_epoch_cost(self.belief, batch_size) * epochs
        usual += self.belief.fixed_cost
        return outlay.scaled(usual / cost) if cost > usual and _is_off(cost, usual) else outlay

    def trained(self, outlay: Outlay, fixed: Outlay | None, *, batch_size: int, epochs: float | None) -> Outlay:
        """Return what of a run's outlay its epochs took, as :meth:`trained_cost`."""
        fixed_cost = None if fixed is None else self.job.price(fixed)
        cost = self.job.price(outlay)
        trained = self.trained_cost(cost, fixed_cost, batch_size=batch_size, epochs=epochs)
        if (part := self.usually_fixed if fixed is None else fixed) is not None:
            left = outlay.less(part)
            if abs(self.job.price(left) - trained) <= _ROUNDING * cost:
                return left
        return outlay.scaled(trained / cost) if cost > 0.0 else outlay

    def trained_cost(self, cost: float, fixed_cost: float | None, *, batch_size: int, epochs: float | None) -> float:
        """Return what of a run's cost its epochs took, without the fixed part that went by before the first step.

        Where that part is unknown, as after a single report, it is taken to be the usual one, and its epochs to have
        cost something. Where it usually outweighs them its chance variation would, too: then they are taken to have
        cost what is expected of them, unless that part would be more than twice the usual.
        """
        if fixed_cost is not None:
            return max(cost - fixed_cost, 0.0)
        usual = self._usual_fixed_cost
        if usual and epochs and self.belief is not None and self.belief.has_level:
            expected = self._expected_epoch_cost(self.belief, batch_size) * epochs
            if expected < usual and abs(cost - usual - expected) <= usual:
                return expected
        return max(cost - usual, LEAST_SHARE_OF_EPOCHS * cost)

    def _expected_epoch_cost(self, belief: Belief, batch_size: int) -> float:
        return exp(belief.epoch_costs.mean[self.grid.index(batch_size)])

    def by_curve(self, runs: RunBelief, batch_size: int, curve: LearningCurve) -> Expectation:
        """Return what a run's evaluations make of its expected log epochs."""
        prior = runs.of(batch_size)
        if self.job.target is None:
            return prior
        shares = self._reference_curves.get(batch_size)
        if shares is None:
            shares = curves.reference(self.grid, self.pooled.arms, batch_size, self.pooled.levels)
            self._reference_curves[batch_size] = shares
        return curves.expect(prior, runs.noise, curve, levels=self.pooled.levels, shares=shares, target=self.job.target)

    @cached_property
    def _reference_curves(self) -> dict[int, list[float | None]]:
        return {}


def gather(store: StateStore, power_limits: PowerLimitOptimizer | None, job: Job) -> Knowledge:
    """Return what is known of a placement: until a state changes the same object, with all that was derived from it.

    Args:
        store: Evidence by placement; what it holds is replaced, never changed in place.
        power_limits: Whose measurements give the epoch costs; None: only the runs do.
        job: The placement.
    """
    return _derive(tuple(_source(placement, store, power_limits) for placement in (job, *siblings(store, job))))


def gather_to_learn(
    store: StateStore, power_limits: PowerLimitOptimizer | None, job: Job, batch_size: int
) -> Knowledge:
    """Return what is known of a placement as far as a run of a batch size is judged by it.

    What is learnt must depend neither on knobs, which are applied when it is read, nor on batch sizes that could be
    added later: so this is at the reference knobs, and believes nothing of batch sizes of which nothing is known.

    Args:
        store: As for :func:`gather`.
        power_limits: As for :func:`gather`.
        job: As for :func:`gather`.
        batch_size: What ran.
    """
    placements = (placement.at_reference_knobs() for placement in (job, *siblings(store, job)))
    return _known(tuple(_source(placement, store, power_limits) for placement in placements), batch_size)


_KNOBS = attrgetter(*(knob.name for knob in fields(Job) if knob.name not in ("seed", "trial_number")))


class _Measured:
    """A placement and what was measured of it under power limits.

    An optimizer that changes its state in place is compared by what it has measured, any other by the identity of the
    state, which costs far less.
    """

    __slots__ = ("_key", "job", "power_limits")

    def __init__(self, job: Job, power_limits: PowerLimitOptimizer | None, state: State) -> None:
        self.job = job
        self.power_limits = power_limits
        measured: object = None
        if power_limits is not None and power_limits.replaces_state:
            measured = ByIdentity(power_limits.store.get(job))
        elif power_limits is not None:
            measured = tuple(power_limits.measurements(job, int(size)) for size in state["arms"])
        self._key = (measured, _KNOBS(job))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Measured) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


class _Source(NamedTuple):
    """What the knowledge of one placement is derived from."""

    state: ByIdentity[State]
    measured: _Measured


def _source(job: Job, store: StateStore, power_limits: PowerLimitOptimizer | None) -> _Source:
    state = store[job]
    return _Source(ByIdentity(state), _Measured(job, power_limits, state))


@lru_cache(maxsize=256)  # nothing changes between most questions about a placement; some 30 kB an entry
def _derive(sources: tuple[_Source, ...]) -> Knowledge:
    return _known(sources)


def _known(sources: tuple[_Source, ...], batch_size: int | None = None) -> Knowledge:
    """Return what is known of the first of a job's placements.

    Args:
        sources: What it is derived from.
        batch_size: Believe something only of this arm, and of those of which something was seen; None: of all.
    """
    job = sources[0].measured.job
    own, *others = [evidence_of(source.state) for source in sources]
    grid = grid_of(tuple(own.arms), job.default_batch_size)
    measured, *theirs = [_measured_prices(source.measured, grid) for source in sources]
    if batch_size is not None:
        seen = {batch_size, *_seen((own, *others), (measured, *theirs), grid)}
        measured, *theirs = [one.of(seen, grid) for one in (measured, *theirs)]
        grid = grid_of(tuple(size for size in own.arms if size in seen), job.default_batch_size)

    def find_prices() -> Prices:
        shape = None
        for source, evidence, their in zip(sources[1:], others, theirs, strict=True):
            prices = gather_prices(their, grid, evidence.arms, source.measured.job.price, None)
            if sum(prices.are_seen) >= FEWEST_FOR_A_SHAPE:
                shape = prices.posterior(grid).mean
                break
        return gather_prices(measured, grid, own.arms, job.price, shape)

    return Knowledge(job, own, transfer.pool(own, others), grid, find_prices)


def _seen(evidence: Sequence[Evidence], measured: Sequence[MeasuredPrices], grid: Grid) -> Iterator[int]:
    """Iterate over the batch sizes of which something was seen on any placement."""
    for at, size in enumerate(grid.batch_sizes):
        is_measured = any(one.log_costs[at] is not None or one.surveyed[at] for one in measured)
        if is_measured or any(one.arms.get(size, UNSEEN) != UNSEEN for one in evidence):
            yield size


@lru_cache(maxsize=256)  # runs end far more often than power limits are measured
def _measured_prices(measured: _Measured, grid: Grid) -> MeasuredPrices:
    return measured_prices(measured.power_limits, measured.job, grid)


def _is_off(cost: float, usual: float) -> bool:
    return is_outlier(safe_log(cost), (safe_log(usual), 0.0))


def siblings(store: StateStore, job: Job) -> list[Job]:
    """Return the job's other placements."""
    return [other for other in store if other.job_id == job.job_id and other != job]
