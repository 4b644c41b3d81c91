"""One policy applied to one placement: what the service and the in-process replay both call.

The advisor joins the optimizer of batch sizes, the optimizer of power limits and the cost bound over the state
stores that it is given. It checks what a policy answers, so that a faulty custom policy fails by name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from rheostat.errors import NoBatchSizeLeft, PolicyFailed
from rheostat.policy.cost import NOTHING, Outlay, PowerMeasurement, given_cost, select
from rheostat.policy.cost_bound import cost_bound, known_bound
from rheostat.policy.estimates import Account, ArmEstimate, CostPrediction
from rheostat.policy.identity import ByIdentity
from rheostat.policy.interface import (
    Choice,
    Job,
    Outlays,
    Policy,
    Progress,
    Result,
    Situation,
    StateStore,
    TrialState,
)
from rheostat.policy.learning_curve import NO_CURVE, LearningCurve
from rheostat.policy.surveys import Survey

Outcome = Literal["failed", "oom", "cancelled"]
"""How a trainer may end a run by itself."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a report makes of a trial: its state from now on, and why."""

    state: TrialState
    reason: str


@dataclass(frozen=True, slots=True)
class PowerAdvice:
    """A power limit in watts, or the limits to measure first, in order."""

    power_limit_watts: int | None
    profile_power_limits_watts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Stores:
    """Where the three parts of an advisor keep their state."""

    batch_size: StateStore
    power_limit: StateStore
    cost_bound: StateStore


class Advisor:
    """Decides for the placements of a job, and learns from them, by one policy.

    Args:
        policy: The pair of optimizers.
        stores: Their state.

    Raises:
        PolicyFailed: An optimizer cannot be made.
    """

    def __init__(self, policy: Policy, stores: Stores) -> None:
        self._stores = stores
        self._name = policy.batch_size.__name__
        self._read_time_knobs = policy.read_time_knobs
        self._batch_sizes = self._ask(lambda: policy.batch_size(stores.batch_size))
        self._power_limits = self._ask(lambda: policy.power_limit(stores.power_limit))
        self._batch_sizes.power_limits = self._power_limits
        self._name = self._ask(lambda: self._batch_sizes.name)

    def register(self, job: Job, batch_sizes: Sequence[int]) -> None:
        """Make the state of a placement.

        Raises:
            PolicyFailed: The policy raised.
        """
        self._ask(lambda: self._batch_sizes.register_job(job, sorted(batch_sizes)))

    def add_batch_sizes(self, job: Job, batch_sizes: Sequence[int]) -> bool:
        """Make room for further batch sizes of a placement; return False where its state must be rebuilt for them.

        Raises:
            PolicyFailed: The policy raised.
        """
        return self._ask(lambda: self._batch_sizes.add_batch_sizes(job, sorted(batch_sizes)))

    def choose(self, job: Job, situation: Situation) -> Choice:
        """Return the batch size of a new trial.

        Raises:
            PolicyFailed: The policy raised, or chose what is not permitted.
            NoBatchSizeLeft: The policy has nothing left to try.
        """
        choice = self._ask(lambda: self._batch_sizes.choose(job, situation))
        if choice.batch_size not in situation.permitted:
            raise PolicyFailed(
                f"The policy {self._name} chose batch size {choice.batch_size!r}, "
                f"which is not among the permitted {list(situation.permitted)}."
            )
        return replace(choice, batch_size=int(choice.batch_size))

    def best_known(self, job: Job, situation: Situation) -> Choice | None:
        """Return the batch size of the lowest expected cost among those that converged, or None when none did.

        Raises:
            PolicyFailed: The policy raised, or chose what is not permitted.
        """
        choice = self._ask(lambda: self._batch_sizes.best_known(job, situation))
        if choice is not None and choice.batch_size not in situation.permitted:
            raise PolicyFailed(f"The policy {self._name} knows {choice.batch_size!r} best, which is not permitted.")
        return choice

    def survey(self, job: Job, situation: Situation) -> Survey:
        """Return what to measure before the placement's first run.

        Raises:
            PolicyFailed: The policy raised, or asks for a batch size that is not permitted.
        """
        survey = self._ask(lambda: self._batch_sizes.survey(job, situation))
        for step in survey.steps:
            if step.batch_size not in situation.permitted:
                raise PolicyFailed(
                    f"The policy {self._name} asks for a survey of batch size {step.batch_size!r}, "
                    f"which is not among the permitted {list(situation.permitted)}."
                )
        return survey

    def power(self, job: Job, batch_size: int) -> PowerAdvice:
        """Return the power limit for a batch size, or what to measure first; neither where no limit can be set.

        Where there is a single limit to choose from, it is the best without any measurement.

        Raises:
            PolicyFailed: The policy raised, or advised a limit that the job does not have.
        """
        if len(job.power_limits_watts) <= 1:
            return PowerAdvice(next(iter(job.power_limits_watts), None))
        limit = self._ask(lambda: self._power_limits.predict(job, batch_size))
        if limit is not None:
            if limit not in job.power_limits_watts:
                raise PolicyFailed(
                    f"The optimizer {self._power_limits.name} advises {limit!r} W, "
                    f"which is not among {list(job.power_limits_watts)}."
                )
            return PowerAdvice(int(limit))
        return PowerAdvice(None, tuple(self._ask(lambda: self._power_limits.plan(job, batch_size))))

    def best_measured_limit(self, job: Job, batch_size: int) -> int | None:
        """Return the best power limit of those that were measured so far, or None when none was.

        Raises:
            PolicyFailed: The policy raised.
        """
        measured = self._ask(lambda: self._power_limits.measurements(job, batch_size))
        permitted = [one for one in measured if one.power_limit_watts in job.power_limits_watts]
        return select(permitted, max_slowdown=job.max_slowdown).power_limit_watts if permitted else None

    def power_before_run(self, job: Job, batch_size: int) -> PowerAdvice:
        """Return as :meth:`power` the limit for a batch size, or what to measure; a survey's figures do for that.

        Raises:
            PolicyFailed: The policy raised.
        """
        surveyed = None
        if len(job.power_limits_watts) > 1:
            surveyed = self._ask(lambda: self._power_limits.surveyed(job, batch_size))
        if surveyed is None:
            return self.power(job, batch_size)
        limit, plan = surveyed
        return PowerAdvice(limit, plan if limit is None else ())

    def measure(self, job: Job, batch_size: int, measurement: PowerMeasurement) -> None:
        """Learn from a measured power limit.

        Raises:
            PolicyFailed: The policy raised.
        """
        self._ask(lambda: self._power_limits.measure(job, batch_size, measurement))

    def cost_bound(self, job: Job) -> float | None:
        """Return the cost in joules at which a run of this placement is stopped, or None."""
        return cost_bound(self._stores.cost_bound.get(job), job)

    def assess(
        self,
        job: Job,
        *,
        batch_size: int,
        epoch: float,
        metric: float | None,
        cost: float | None,
        outcome: Outcome | None = None,
        curve: LearningCurve = NO_CURVE,
        may_stop: bool = True,
        fixed_cost: float | None = None,
    ) -> Verdict:
        """Return what a report makes of a running trial.

        The outcome that the trainer reports comes first, then what the policy rejects, the target, the epochs, and last
        the policy's early stop. A job without a target has converged when it has run its epochs. The policy stops
        nothing without ``may_stop``.

        Raises:
            PolicyFailed: The policy raised.
        """
        if outcome is not None:
            return Verdict(outcome, f"the trainer reported {outcome}")
        progress = Progress(batch_size, epoch, metric, cost, self.cost_bound(job), curve, fixed_cost)
        rejected = self._ask(lambda: self._batch_sizes.reject(job, progress)) if may_stop else None
        if rejected is not None:
            return Verdict("stopped", rejected)
        target = job.target
        if target is not None and metric is not None and target.reached(metric):
            return Verdict("converged", f"{target.metric} {metric:g} reached the target {target.value:g}")
        failure = _failure(job, epoch, curve)
        if failure is not None:
            return failure
        if may_stop:
            stop = self._ask(lambda: self._batch_sizes.early_stop(job, progress))
            if stop is not None:
                return Verdict("stopped", stop)
        return Verdict("running", "not at the target yet")

    def conclude(
        self,
        job: Job,
        state: TrialState | None,
        *,
        batch_size: int,
        cost: Outlay | float | None,
        epochs: float | None = None,
        curve: LearningCurve = NO_CURVE,
        fixed: Outlay | None = None,
        may_stop_others: bool = True,
        beside_exploration: bool = False,
    ) -> None:
        """Learn from a run that is over.

        A run that its trainer ended as failed or out of memory may have cost next to nothing; it is charged at
        least what the bound would have let it spend, so that failing early does not look cheap. A cancelled
        run, and one that converged at an unknown cost or at none, teach nothing.

        Args:
            job: The placement that ran.
            state: How it ended; None when it is unknown whether it converged.
            batch_size: What it trained with.
            cost: What it took, or its cost in joules where only that is known; None: nothing is.
            epochs: Epochs that it ran, where known.
            curve: Its evaluations, where known.
            fixed: What of it went by before its first training step, where known.
            may_stop_others: Whether later runs may be stopped by what it cost.
            beside_exploration: Whether it ran beside an exploration.

        Raises:
            PolicyFailed: The policy raised.
        """
        if state in ("cancelled", "abandoned", "running"):
            return
        stored = self._stores.cost_bound
        bound, reference = known_bound(ByIdentity(stored.get(job))), job.at_reference_knobs()
        spent = given_cost(cost) if isinstance(cost, int | float) else cost
        paid = charged = spent
        if state in ("oom", "failed"):
            paid, charged = (bound.charged(at, NOTHING if spent is None else spent) for at in (job, reference))
        if paid is None or charged is None or (reference.price(charged) == 0.0 and state in ("converged", None)):
            return
        if state in ("converged", None) and may_stop_others:
            stored[job] = bound.converged(reference, charged).to_state()
        elif state == "stopped":
            stored[job] = bound.stopped().to_state()
        price = job.price(paid)
        if price == 0.0 and state in ("converged", None) and "eta_knob" not in self._read_time_knobs:
            return
        result = Result(
            batch_size,
            price,
            state,
            epochs,
            curve,
            spent=None if spent is None else job.price(spent),
            fixed_cost=None if fixed is None else job.price(fixed),
            outlays=Outlays(charged, spent, fixed),
            beside_exploration=beside_exploration,
        )
        self._ask(lambda: self._batch_sizes.conclude(job, result))

    def learn_part(self, job: Job, *, batch_size: int, cost: Outlay | None, epochs: float | None) -> None:
        """Learn from the part of a training that a run made, when another one had made the epochs before.

        Args:
            job: The placement that ran.
            batch_size: What it trained with.
            cost: What the part took, or None when unknown.
            epochs: How many epochs it ran.

        Raises:
            PolicyFailed: The policy raised.
        """
        if cost is not None and epochs and job.at_reference_knobs().price(cost):
            epoch = cost.scaled(1.0 / epochs)
            self._ask(lambda: self._batch_sizes.learn_part(job, batch_size, epoch))

    def estimates(self, job: Job) -> tuple[ArmEstimate, ...]:
        """Return what the policy believes of each arm.

        Raises:
            PolicyFailed: The policy raised.
        """
        return self._ask(lambda: self._batch_sizes.estimates(job))

    def predicted_cost(self, job: Job, batch_size: int) -> CostPrediction | None:
        """Return what a run that begins now is predicted to cost, where the policy knows.

        Raises:
            PolicyFailed: The policy raised, or predicts what is no number.
        """

        def ask() -> CostPrediction | None:
            said = self._batch_sizes.predicted_cost(job, batch_size)
            return said and CostPrediction(float(said.log_mean), float(said.log_deviation), float(said.fixed))

        return self._ask(ask)

    def account(self, job: Job) -> Account | None:
        """Return how the placement stands against always running the default, where the policy knows.

        Raises:
            PolicyFailed: The policy raised.
        """
        return self._ask(lambda: self._batch_sizes.account(job))

    def _ask(self, question: Callable[[], T]) -> T:
        """Call into the policy; whatever it raises names it."""
        try:
            return question()
        except NoBatchSizeLeft:
            raise
        except Exception as error:
            raise PolicyFailed(
                f"The policy {self._name} failed: {type(error).__name__}: {error}",
                hint="Choose another policy for the job, or correct this one and run `rheostat jobs rebuild`.",
            ) from error


def _failure(job: Job, epoch: float, curve: LearningCurve) -> Verdict | None:
    """Return that a run has failed, or come to the end of its epochs; None: neither."""
    target, most = job.target, job.diverged_after_reports
    if target is None:
        epochs = "1 epoch" if job.max_epochs == 1 else f"{job.max_epochs} epochs"
        return Verdict("converged", f"ran its {epochs}") if epoch >= job.max_epochs else None
    is_over = epoch >= job.max_epochs
    if curve.not_finite > 0 and (is_over or (most is not None and curve.not_finite >= most)):
        count = f"{curve.not_finite} evaluations in a row" if curve.not_finite > 1 else "its last evaluation"
        return Verdict("failed", f"diverged: {target.metric} was NaN or infinite in {count}")
    if is_over:
        return Verdict("failed", f"{target.metric} did not reach {target.value:g} in {job.max_epochs} epochs")
    return None
