"""What a policy is: two abstract classes, and the values that pass through them.

A policy decides; it does not store, log, time or talk. The four abstract methods are all that a custom policy
must write; they carry the names of Zeus's policy interface (NSDI 2023), so that a policy written for it ports
over. The other methods are hooks whose defaults are built on those four.

A custom policy is a class in the entry-point group ``rheostat.policies``::

    class Smallest(BatchSizeOptimizer):
        name = "smallest"

        def register_job(self, job, batch_sizes):
            self.store[job] = {"smallest": min(batch_sizes)}

        def predict(self, job):
            return self.store[job]["smallest"]

        def observe(self, job, batch_size, cost, converged=None):
            pass

The service makes a new instance for every request: what a policy keeps in ``self.store`` is all that it
remembers. State is plain JSON (dicts with string keys, lists, numbers, strings, booleans, None), and it is
re-derived at any time by ``register_job`` and the recorded observations in their order; so only these two may
change what later decisions depend on.
"""

from abc import ABC, abstractmethod
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from rheostat.policy.cost import Outlay, PowerMeasurement, cost_text, given_cost
from rheostat.policy.estimates import Account, ArmEstimate, CostPrediction
from rheostat.policy.job import READ_TIME_KNOBS, FirstRun, Job
from rheostat.policy.learning_curve import NO_CURVE, LearningCurve
from rheostat.policy.surveys import NO_SURVEY, Survey

__all__ = [
    "READ_TIME_KNOBS",
    "STATE_OF_VERDICT",
    "BatchSizeOptimizer",
    "Choice",
    "FirstRun",
    "Job",
    "Outlays",
    "Policy",
    "PowerLimitOptimizer",
    "Progress",
    "Result",
    "Situation",
    "State",
    "StateStore",
    "TrialState",
]

_ROUNDING = 1.0 + 1e-9  # a run of just as many epochs as the bound allows is not stopped by its last digit

State: TypeAlias = dict[str, Any]

TrialState = Literal["running", "converged", "failed", "stopped", "oom", "cancelled", "abandoned"]
"""States of a trial: it runs, and then ends in one of the others."""

STATE_OF_VERDICT: dict[bool | None, TrialState | None] = {True: "converged", False: "failed", None: None}
"""How a whole run ended, by whether it converged."""

StateStore: TypeAlias = MutableMapping[Job, State]
"""Where an optimizer keeps the state of each job: a dict in tests and replay, rows of a table in the service."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What surrounds a decision, beyond what the optimizer itself has learnt.

    Attributes:
        permitted: Batch sizes that may be chosen now, ascending: those that the GPU's memory is not known to
            refuse. Never empty.
        pending: Batch sizes of the placement's trials that run at this moment, one entry a trial.
        exploring: Those of them whose results an exploration may wait for: neither beside one nor ordered.
    """

    permitted: tuple[int, ...]
    pending: tuple[int, ...] = ()
    exploring: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """A batch size, and the reason for it as users read it.

    Attributes:
        batch_size: The batch size.
        reason: The reason.
        beside_exploration: Whether the trial only bridges the time until an exploration that runs has a result.
    """

    batch_size: int
    reason: str
    beside_exploration: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """A running trial after an evaluation.

    Attributes:
        batch_size: What it trains with.
        epoch: Epochs done, possibly fractional.
        metric: Value of the target metric; None when this report brought none.
        cost: Cost so far in joules; None when neither energy nor time is known.
        cost_bound: ``beta_knob`` times the lowest cost so far; None when there is no bound.
        curve: Its evaluations so far, this one among them.
        fixed_cost: What of the cost went by before the first training step, in joules; None: unknown.
    """

    batch_size: int
    epoch: float
    metric: float | None
    cost: float | None
    cost_bound: float | None
    curve: LearningCurve = NO_CURVE
    fixed_cost: float | None = None


class Outlays(NamedTuple):
    """What a run took, energy and time apart, for states that are priced when they are read.

    Attributes:
        charged: What it counts for: as its cost, but charged at :meth:`Job.at_reference_knobs`.
        spent: What it really took; None: unknown.
        fixed: What of it went by before the first training step; None: unknown.
    """

    charged: Outlay
    spent: Outlay | None = None
    fixed: Outlay | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """A run that is over.

    Attributes:
        batch_size: What it trained with.
        cost: What it cost in joules; one that failed is charged at least what the bound would have let it spend.
        state: How it ended; None when it is unknown whether it converged.
        epochs: Epochs that it ran; None when only the whole run's cost was reported.
        curve: Its evaluations.
        spent: What it really cost in joules, where it is charged more; None: as much as its cost.
        fixed_cost: What of the cost went by before the first training step, in joules; None: unknown.
        outlays: The same costs with energy and time apart; None: only the costs are known.
        beside_exploration: As of the :class:`Choice` that began it.
    """

    batch_size: int
    cost: float
    state: TrialState | None
    epochs: float | None = None
    curve: LearningCurve = NO_CURVE
    spent: float | None = None
    fixed_cost: float | None = None
    outlays: Outlays | None = None
    beside_exploration: bool = False

    @property
    def took(self) -> Outlays:
        """The outlays, or what the costs make of them."""
        if self.outlays is not None:
            return self.outlays
        spent, fixed = (None if cost is None else given_cost(cost) for cost in (self.spent, self.fixed_cost))
        return Outlays(given_cost(self.cost), spent, fixed)

    @property
    def converged(self) -> bool | None:
        """Whether it reached the target; None when that is unknown."""
        return None if self.state is None else self.state == "converged"

    @property
    def diverged(self) -> bool:
        """Whether its metric was no finite number in the end: another seed need not diverge."""
        return self.state == "failed" and self.curve.not_finite > 0


class BatchSizeOptimizer(ABC):
    """Chooses the batch size of each recurrence and learns from its result.

    Attributes:
        store: Where the state of each job is kept.
        power_limits: The optimizer of power limits beside it, whose measurements it may read; None: there is none.
        replaces_state: Whether it never changes in place what the store gave it, so that what it only read need not be
            looked through for changes.
        read_time_knobs: Attributes of :class:`Job` that its state does not depend on: they are applied when it is
            read, so that a change of them needs no rebuild.
    """

    replaces_state: bool = False
    read_time_knobs: frozenset[str] = frozenset()
    power_limits: "PowerLimitOptimizer | None" = None

    def __init__(self, store: StateStore) -> None:
        self.store = store

    @property
    @abstractmethod
    def name(self) -> str:
        """Name by which a job asks for this policy."""

    @abstractmethod
    def register_job(self, job: Job, batch_sizes: list[int]) -> None:
        """Make the state of a job that was not seen before.

        Args:
            job: The placement.
            batch_sizes: Candidates in ascending order; the default is among them.
        """

    def add_batch_sizes(self, job: Job, batch_sizes: list[int]) -> bool:
        """Make room for further batch sizes of a placement that is registered.

        Args:
            job: The placement.
            batch_sizes: All candidates from now on, in ascending order.

        Returns:
            Whether the state is now what it would be had they been candidates all along. The default says no: the state
            is then derived from the evidence again.
        """
        return False

    @abstractmethod
    def predict(self, job: Job) -> int:
        """Return the batch size to train with."""

    @abstractmethod
    def observe(self, job: Job, batch_size: int, cost: float, converged: bool | None = None) -> None:
        """Learn the result of a run.

        Args:
            job: The placement that ran.
            batch_size: What it trained with.
            cost: What it cost in joules.
            converged: Whether it reached its target; None when that is unknown.
        """

    def choose(self, job: Job, situation: Situation) -> Choice:
        """Return the batch size of a trial in its situation, with the reason.

        An optimizer that has nothing left to try raises :class:`rheostat.errors.NoBatchSizeLeft`.

        The default asks :meth:`predict`, and where that batch size is not permitted takes the nearest that is.
        """
        predicted = self.predict(job)
        if predicted in situation.permitted:
            return Choice(predicted, f"predicted by the policy {self.name}")
        nearest = min(situation.permitted, key=lambda size: (abs(size - predicted), size))
        return Choice(nearest, f"nearest to {predicted}, which {self.name} predicts and this GPU cannot run")

    def best_known(self, job: Job, situation: Situation) -> Choice | None:
        """Return the permitted batch size of the lowest expected cost among those that converged, with the reason.

        It runs while exploring is paused. The default does not know: the job's default batch size runs.
        """
        return None

    def survey(self, job: Job, situation: Situation) -> Survey:
        """Return what a trainer that can make a few steps at any batch size should measure before it asks for one.

        What it measures comes back as measurements of the optimizer of power limits. The default asks for nothing.
        """
        return NO_SURVEY

    def reject(self, job: Job, progress: Progress) -> str | None:
        """Return why a running trial is stopped even if it is at its target; None: nothing speaks against it.

        The default rejects none.
        """
        return None

    def early_stop(self, job: Job, progress: Progress) -> str | None:
        """Return why a running trial should be stopped, or None to let it continue.

        The default stops it when its cost has passed ``progress.cost_bound``, or would with one more epoch at its
        mean cost so far, without what went by before the first step: an epoch that is to be thrown away need not be run
        (NSDI 2023, section 4.4; the published simulator stops there, too). Inside the first epoch, what was run so far
        stands for the next step.
        """
        if progress.cost is None or progress.cost_bound is None:
            return None
        step = max(progress.cost - (progress.fixed_cost or 0.0), 0.0) / max(progress.epoch, 1.0)
        if progress.cost + step <= progress.cost_bound * _ROUNDING:
            return None
        verb = "passed" if progress.cost > progress.cost_bound else "would with one more epoch pass"
        return (
            f"its cost, {cost_text(progress.cost)}, {verb} {cost_text(progress.cost_bound)}, "
            f"{job.beta_knob:g} times the lowest cost so far"
        )

    def conclude(self, job: Job, result: Result) -> None:
        """Learn from a run that is over. The default calls :meth:`observe`."""
        self.observe(job, result.batch_size, result.cost, result.converged)

    def learn_epoch_cost(self, job: Job, batch_size: int, cost: float) -> None:  # noqa: B027
        """Learn what an epoch cost in a run that tells nothing else, as one that began in the middle of a training.

        The default learns nothing.

        Args:
            job: The placement that ran.
            batch_size: What it trained with.
            cost: Mean cost of an epoch in joules.
        """

    def learn_part(self, job: Job, batch_size: int, epoch: Outlay) -> None:
        """Learn what an epoch took, as :meth:`learn_epoch_cost`, with energy and time apart. The default calls that."""
        self.learn_epoch_cost(job, batch_size, job.price(epoch))

    def estimates(self, job: Job) -> tuple[ArmEstimate, ...]:
        """Return the estimates of each arm; the default returns none."""
        return ()

    def predicted_cost(self, job: Job, batch_size: int) -> CostPrediction | None:
        """Return what a run that begins now is predicted to cost, at the best power limit; the default cannot say.

        It is kept with the trial, and compared with what the run came to cost.
        """
        return None

    def account(self, job: Job) -> Account | None:
        """Return how the placement stands against always running the default; the default does not know."""
        return None


class PowerLimitOptimizer(ABC):
    """Chooses the power limit for a batch size and learns from measured limits.

    Attributes:
        store: Where the state of each job is kept.
        replaces_state: As of :class:`BatchSizeOptimizer`.
        read_time_knobs: As of :class:`BatchSizeOptimizer`.
    """

    replaces_state: bool = False
    read_time_knobs: frozenset[str] = frozenset()

    def __init__(self, store: StateStore) -> None:
        self.store = store

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the optimizer."""

    @abstractmethod
    def predict(self, job: Job, batch_size: int) -> int | None:
        """Return the power limit in watts, or None when profiling results via :meth:`observe` are needed."""

    @abstractmethod
    def observe(self, job: Job, batch_size: int, power_limit: int, cost: float) -> None:
        """Learn what an epoch costs under a power limit.

        Args:
            job: The placement that was measured.
            batch_size: What it trained with.
            power_limit: The limit of each GPU in watts.
            cost: Cost of one epoch in joules.
        """

    def plan(self, job: Job, batch_size: int) -> tuple[int, ...]:
        """Return the limits in watts that are still to be measured, in order; the default is all of them."""
        return job.power_limits_watts

    def surveyed(self, job: Job, batch_size: int) -> tuple[int | None, tuple[int, ...]] | None:
        """Return what :meth:`predict` and :meth:`plan` would say if what a survey measured were a run's.

        None where a run has measured the batch size, or no survey has; the default does not tell them apart.
        """
        return None

    def survey_plan(self, job: Job, batch_size: int) -> tuple[int, ...]:
        """Return the limits in watts that a survey should still measure, in order; the default is none."""
        return ()

    def measure(self, job: Job, batch_size: int, measurement: PowerMeasurement) -> None:
        """Learn from a measurement with its time and energy. The default calls :meth:`observe`."""
        self.observe(job, batch_size, measurement.power_limit_watts, measurement.cost)

    def measurements(self, job: Job, batch_size: int) -> tuple[PowerMeasurement, ...]:
        """Return the latest measurement of each limit of a batch size; the default returns none."""
        return ()


@dataclass(frozen=True, slots=True)
class Policy:
    """What a name in ``rheostat.policies`` stands for: one optimizer of each kind."""

    batch_size: type[BatchSizeOptimizer]
    power_limit: type[PowerLimitOptimizer]

    @property
    def read_time_knobs(self) -> frozenset[str]:
        """Attributes of :class:`Job` that no part of the state depends on."""
        return self.batch_size.read_time_knobs & self.power_limit.read_time_knobs
