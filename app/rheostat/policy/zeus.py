"""The published baseline: Zeus's optimizers (You, Chung, Chowdhury; NSDI 2023), for comparison and by choice.

Faithful in what it decides; different in what it survives: results are taken in any order, a trial that never
reports holds nothing up, and every draw is reproducible. A job with :class:`rheostat.policy.published.Published` knobs
is explored exactly in the published order, one batch size at a time, and stopped by the published rule; other jobs
explore several batch sizes at once where several trials run, and forgive the first run that diverges.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from rheostat.policy.cost import PowerMeasurement, cost_text, select
from rheostat.policy.estimates import ArmEstimate, CostPrediction, Estimate
from rheostat.policy.identity import ByIdentity
from rheostat.policy.interface import (
    BatchSizeOptimizer,
    Choice,
    Job,
    Policy,
    PowerLimitOptimizer,
    Progress,
    Result,
    Situation,
    State,
)
from rheostat.policy.pruning import Results, Walk, explore, spread
from rheostat.policy.thompson import FLAT, NORMAL_95, ArmCosts, Prior, sample_lowest


class PruningThompsonSampling(BatchSizeOptimizer):
    """Two rounds of exploration with pruning, then Gaussian Thompson sampling over the survivors.

    State: ``batch_sizes``; ``results``, the first two results of each batch size; ``arms``, count, mean and
    squared deviations of each one's costs; ``diverged``, the batch sizes of which a run has diverged; ``lowest``, where
    the job has the published knobs, the lowest cost of each batch size's runs that converged.

    Attributes:
        pruning_rounds: How often each surviving batch size is explored before sampling starts, unless the job says.
    """

    replaces_state = True
    pruning_rounds = 2

    @property
    def name(self) -> str:
        """The name ``zeus``."""
        return "zeus"

    def register_job(self, job: Job, batch_sizes: list[int]) -> None:
        """Start exploring the given batch sizes from the job's default."""
        self.store[job] = {"batch_sizes": sorted(batch_sizes), "results": {}, "arms": {}}

    def predict(self, job: Job) -> int:
        """Return the batch size for a trial that runs alone on a GPU that fits them all."""
        return self.choose(job, Situation(permitted=tuple(self.store[job]["batch_sizes"]))).batch_size

    def choose(self, job: Job, situation: Situation) -> Choice:
        """Explore what is still open, else sample among the survivors."""
        state = self.store[job]
        walk = self._walk(job, state, situation.permitted)
        if walk.next is not None:
            size = _explored_next(job, walk, situation)
            if size is not None:
                return Choice(size, f"exploration, round {walk.round} of {self._rounds(job)}")
            return replace(self._cheapest(job, state, situation), beside_exploration=True)
        if not walk.survivors:
            return self._cheapest(job, state, situation)
        known, random = _arms(state), job.random()
        arms = {size: known.get(size, ArmCosts()) for size in walk.survivors}
        size = _with_too_few_results(job, arms, random)
        if size is not None:
            return Choice(size, f"one of the batch sizes with too few results to sample from: {arms[size].count}")
        size, draws = sample_lowest(arms, random, _prior(job))
        return Choice(
            size,
            f"Thompson sampling: drew an expected cost of {cost_text(draws[size])}, the lowest of {len(draws)} arms",
        )

    def best_known(self, job: Job, situation: Situation) -> Choice | None:
        """Return the permitted batch size of the lowest mean cost among those that converged."""
        state = self.store[job]
        arms, results = _arms(state), _results(state)
        converged = [size for size in situation.permitted if any(good for _, good in results.get(size, ()))]
        best = min(converged, key=lambda size: arms[size].mean, default=None)
        return None if best is None else Choice(best, f"lowest mean cost so far, {cost_text(arms[best].mean)}")

    def observe(self, job: Job, batch_size: int, cost: float, converged: bool | None = None) -> None:
        """Learn a cost; while exploring also whether the batch size survives.

        A result without a verdict (None) counts as converged, as the job was run to its end.
        """
        self._learn(job, batch_size, cost, converged=converged is not False)

    def conclude(self, job: Job, result: Result) -> None:
        """Learn from a run that is over; the first that diverged does not rule its batch size out: it may be the seed.

        What it cost counts.
        """
        if job.published is not None:
            self._learn_as_published(job, result)
            return
        forgiven = self.store[job].get("diverged", [])
        if not result.diverged or result.batch_size in forgiven:
            self.observe(job, result.batch_size, result.cost, result.converged)
            return
        self.store[job] = {**self.store[job], "diverged": [*forgiven, result.batch_size]}
        self._learn(job, result.batch_size, result.cost, converged=None)

    def reject(self, job: Job, progress: Progress) -> str | None:
        """Stop a run of a job with the published knobs once its cost has passed the bound, at its target or not."""
        cost, bound = progress.cost, progress.cost_bound
        if job.published is None or cost is None or bound is None or cost <= bound:
            return None
        return (
            f"its cost, {cost_text(cost)}, exceeds the cost upper bound, {cost_text(bound)}: "
            f"{job.beta_knob:g} times the lowest cost so far"
        )

    def early_stop(self, job: Job, progress: Progress) -> str | None:
        """Stop a run as usual; one of a job with the published knobs is not stopped before it has passed the bound."""
        return None if job.published is not None else super().early_stop(job, progress)

    def _learn_as_published(self, job: Job, result: Result) -> None:
        """Learn from a run that is over; one beside an exploration says nothing of whether its batch size survives."""
        size, converged = result.batch_size, result.converged is not False
        if converged:
            lowest = self.store[job].get("lowest", {})
            lowest = {**lowest, str(size): min(result.cost, lowest.get(str(size), result.cost))}
            self.store[job] = {**self.store[job], "lowest": lowest}
        self._learn(job, size, result.cost, converged=None if result.beside_exploration else converged)

    def _learn(self, job: Job, batch_size: int, cost: float, *, converged: bool | None) -> None:
        """Learn a cost; None: it says nothing of whether the batch size survives."""
        state = self.store[job]
        key, results = str(batch_size), state["results"]
        if (
            converged is not None
            and key in results
            and not any(good for known in results.values() for _, good in known)
        ):
            results = {}  # tried again though it failed: nothing else fits this GPU, so exploration starts over
        known = results.get(key, [])
        if converged is not None and len(known) < self._rounds(job):
            results = {**results, key: [*known, [cost, converged]]}
        arm = _arms(state).get(batch_size, ArmCosts()).add(cost, job.window_size)
        state = {
            **state,
            "results": results,
            "arms": {**state["arms"], key: [arm.count, arm.mean, arm.squares, list(arm.window)]},
        }
        walk = self._walk(job, state, state["batch_sizes"])
        if walk.next is None and not walk.survivors:
            state = {**state, "results": {}}  # all failed once: start over, since giving up would end the job
        self.store[job] = state

    def estimates(self, job: Job) -> tuple[ArmEstimate, ...]:
        """Return mean and 95 % interval of each arm's expected cost."""
        state = self.store[job]
        walk, arms = self._walk(job, state, state["batch_sizes"]), _arms(state)
        return tuple(
            _estimate(size, arms.get(size, ArmCosts()), _status(size, walk), _prior(job))
            for size in state["batch_sizes"]
        )

    def predicted_cost(self, job: Job, batch_size: int) -> CostPrediction | None:
        """Return what the costs of the batch size predict, or None before two of them that differ."""
        known = self.store[job]["arms"].get(str(batch_size))
        if known is None:
            return None
        arm = _arm(*known)
        mean, deviation = arm.belief(_prior(job))
        if not arm.variance or mean <= 0.0:
            return None
        return CostPrediction.of_moments(mean, arm.variance + deviation**2)

    def _walk(self, job: Job, state: State, batch_sizes: Sequence[int]) -> Walk:
        """Return where the exploration stands among some of the batch sizes, from the default or the one below."""
        start = max((size for size in batch_sizes if size <= job.default_batch_size), default=min(batch_sizes))
        return explore(batch_sizes, start, _results(state), self._rounds(job))

    def _rounds(self, job: Job) -> int:
        return self.pruning_rounds if job.published is None else job.published.pruning_rounds

    def _cheapest(self, job: Job, state: State, situation: Situation) -> Choice:
        """Exploit while everything worth exploring is being explored or does not fit this GPU."""
        converged = {size: cost for size, cost in _lowest_costs(state).items() if size in situation.permitted}
        if converged:
            size = min(converged, key=lambda size: converged[size])
            return Choice(size, "lowest cost so far: the batch sizes left to explore are running or do not fit")
        size = min(situation.permitted, key=lambda size: (abs(size - job.default_batch_size), size))
        return Choice(size, "nearest to the default: nothing has converged yet, and all others are running")


def _explored_next(job: Job, walk: Walk, situation: Situation) -> int | None:
    """Return the batch size that a further trial explores; None: what is to be explored is being explored."""
    if job.published is None:
        return spread(walk, situation.pending)
    return None if situation.exploring else walk.next


def _with_too_few_results(job: Job, arms: Mapping[int, ArmCosts], random: np.random.Generator) -> int | None:
    """Return an arm, in random order, with too few results to be sampled, or None."""
    needed = 0 if job.published is None else job.published.explorations
    if job.window_size:
        needed = min(needed, job.window_size)
    if not _prior(job).precision:
        needed = max(needed, 1)  # nothing at all is known of an arm without a result
    too_few = [size for size, arm in arms.items() if arm.count < needed]
    return int(random.choice(too_few)) if too_few else None


def _prior(job: Job) -> Prior:
    return FLAT if job.published is None else job.published.prior


def _lowest_costs(state: State) -> dict[int, float]:
    """Return the lowest cost of each batch size that has converged: in any run where that is kept, else exploring."""
    if "lowest" in state:
        return {int(size): cost for size, cost in state["lowest"].items()}
    return {
        size: min(cost for cost, good in known if good)
        for size, known in _results(state).items()
        if any(good for _, good in known)
    }


def _results(state: State) -> Results:
    return {int(size): [(cost, good) for cost, good in known] for size, known in state["results"].items()}


def _arms(state: State) -> dict[int, ArmCosts]:
    return {int(size): _arm(*known) for size, known in state["arms"].items()}


def _arm(count: int, mean: float, squares: float, window: Sequence[float]) -> ArmCosts:
    return ArmCosts(count, mean, squares, tuple(window))


def _status(size: int, walk: Walk) -> str:
    if walk.next is None:
        return "sampled" if size in walk.survivors else "pruned"
    return "open" if size in walk.open else f"explored in round {walk.round}, or ruled out by a failure"


def _estimate(size: int, arm: ArmCosts, status: str, prior: Prior) -> ArmEstimate:
    if arm.count == 0:
        return ArmEstimate(size, 0, status)
    if arm.count == 1:
        return ArmEstimate(size, 1, status, Estimate(arm.mean))
    mean, deviation = arm.belief(prior)
    margin = NORMAL_95 * deviation
    return ArmEstimate(size, arm.count, status, Estimate(mean, mean - margin, mean + margin))


class JustInTimePowerLimit(PowerLimitOptimizer):
    """Measures every power limit once in the first run of a batch size, then keeps to the best.

    State: per batch size and limit the latest cost, time and energy of an epoch.
    """

    replaces_state = True

    @property
    def name(self) -> str:
        """The name ``just-in-time``."""
        return "just-in-time"

    def predict(self, job: Job, batch_size: int) -> int | None:
        """Return the best limit once all permitted ones are measured, else None."""
        return _best_limit(ByIdentity(self._limits(job, batch_size)), job.power_limits_watts, job.max_slowdown)

    def observe(self, job: Job, batch_size: int, power_limit: int, cost: float) -> None:
        """Keep the cost of an epoch under a limit."""
        self.measure(job, batch_size, PowerMeasurement(power_limit, cost))

    def measure(self, job: Job, batch_size: int, measurement: PowerMeasurement) -> None:
        """Keep a measurement with its time and energy, in place of an earlier one of the same limit."""
        state = self.store.get(job, {})
        limits = {
            **state.get(str(batch_size), {}),
            str(measurement.power_limit_watts): [
                measurement.cost,
                measurement.time_seconds,
                measurement.energy_joules,
            ],
        }
        self.store[job] = {**state, str(batch_size): limits}

    def plan(self, job: Job, batch_size: int) -> tuple[int, ...]:
        """Return the permitted limits without a measurement, highest first."""
        measured = _measured(self._limits(job, batch_size))
        return tuple(limit for limit in job.power_limits_watts if limit not in measured)

    def measurements(self, job: Job, batch_size: int) -> tuple[PowerMeasurement, ...]:
        """Return what was measured of a batch size, each limit's latest."""
        return tuple(_measured(self._limits(job, batch_size)).values())

    def _limits(self, job: Job, batch_size: int) -> State:
        limits: State = self.store.get(job, _NOT_MEASURED).get(str(batch_size), _NOT_MEASURED)
        return limits


_NOT_MEASURED: State = {}


def _measured(limits: State) -> dict[int, PowerMeasurement]:
    return {
        int(limit): PowerMeasurement(int(limit), cost, time_seconds, energy_joules)
        for limit, (cost, time_seconds, energy_joules) in limits.items()
    }


@lru_cache(maxsize=1024)  # asked with every report, and changed by measurements alone
def _best_limit(
    limits: ByIdentity[State], power_limits_watts: tuple[int, ...], max_slowdown: float | None
) -> int | None:
    """Return the best of some limits once all of them are measured, else None."""
    measured = _measured(limits.value)
    if not power_limits_watts or any(limit not in measured for limit in power_limits_watts):
        return None
    permitted = [measured[limit] for limit in power_limits_watts]
    return select(permitted, max_slowdown=max_slowdown).power_limit_watts


POLICY = Policy(batch_size=PruningThompsonSampling, power_limit=JustInTimePowerLimit)
"""The entry point ``zeus`` of the group ``rheostat.policies``."""
