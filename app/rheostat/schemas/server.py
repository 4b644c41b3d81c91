"""The wire models: every body that passes between a client and the server, shared by both sides.

Bodies are strict: unknown fields, strings for numbers, booleans for numbers, NaN and infinities are refused, and
every list and string has a bound. Names carry their unit; times are RFC 3339 UTC. Rules that both sides apply are
methods here.
"""

from datetime import datetime
from math import sqrt
from typing import Annotated, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from rheostat.schemas.control import JobControl
from rheostat.schemas.fields import (
    Action,
    BatchSize,
    BatchSizes,
    BetaKnob,
    Body,
    BudgetRuns,
    Detail,
    DivergedAfter,
    Epoch,
    EtaKnob,
    FirstRun,
    GpuCount,
    Joules,
    MaxEpochs,
    MaxSlowdown,
    Metric,
    Name,
    Outcome,
    PositiveJoules,
    PositiveSeconds,
    PowerLimits,
    Seconds,
    Seed,
    SurveySeconds,
    TrialId,
    TrialState,
    Watts,
    WindowSize,
)
from rheostat.schemas.progress import TrialProgress


class Target(Body):
    """The metric value that a run must reach."""

    metric: Name
    value: Metric
    direction: Literal["maximize", "minimize"]

    def reached(self, metric: float) -> bool:
        """Return whether a value is at least as good as the target; NaN is not."""
        return metric >= self.value if self.direction == "maximize" else metric <= self.value


class LearningRate(Body):
    """The learning rate at the default batch size, and how it scales with the batch size.

    Linear scaling keeps the update per example (Goyal et al. 2017, "Accurate, Large Minibatch SGD"); square-root
    scaling keeps the variance of the update (Krizhevsky 2014; usual with Adam).
    """

    default: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
    scaling: Literal["linear", "sqrt", "none"]

    def scaled_by(self, ratio: float) -> float:
        """Return the learning rate for a batch size of ``ratio`` times the default."""
        scale = {"linear": ratio, "sqrt": sqrt(ratio), "none": 1.0}[self.scaling]
        return self.default * scale


class JobSettings(Body):
    """What a recurring job asks of Rheostat; the body of `register_job`."""

    batch_sizes: BatchSizes = Field(description="Batch sizes that may be tried.")
    default_batch_size: BatchSize = Field(description="The one that you would use otherwise; one of `batch_sizes`.")
    eta_knob: EtaKnob = Field(0.5, description="Weight of energy against time: 1 is energy alone, 0 time alone.")
    beta_knob: BetaKnob | None = Field(
        2.0, description="A run is stopped when its cost passes this multiple of the lowest; null: never."
    )
    target: Target | None = Field(
        None, description="The metric value to reach; null: a run has converged when it has run `max_epochs`."
    )
    max_epochs: MaxEpochs = Field(description="A run that has not reached its target by then has failed.")
    diverged_after_reports: DivergedAfter | None = Field(
        3, description="A run has failed after so many evaluations in a row that were NaN or infinite; null: never."
    )
    power_limits_watts: PowerLimits | None = Field(
        None, description="Limits of one GPU to choose from; null: the GPU's range."
    )
    power_limit_step_watts: Watts = Field(25, description="Step through the GPU's range, from its maximum down.")
    max_slowdown: MaxSlowdown | None = Field(
        None, description="Longest epoch allowed, as a multiple of the fastest power limit's; null: any."
    )
    policy: Name = Field("rheostat", description="Name of the policy.")
    window_size: WindowSize = Field(0, description="Number of latest runs of a batch size that count; 0: all.")
    first_run: FirstRun = Field(
        "predicted",
        description="Batch size of the first run: the one that a survey predicts to be the cheapest, or the default.",
    )
    exploration_budget_runs: BudgetRuns | None = Field(
        1.0,
        description="How far exploring may take the job behind always running the default, in runs of the default; "
        "0: never explore; null: no bound.",
    )
    survey_seconds: SurveySeconds = Field(
        120.0, description="How long all slices of a survey together may take on each placement; 0: no survey."
    )
    seed: Seed | None = Field(None, description="Random seed; null: the server chooses one.")
    learning_rate: LearningRate | None = Field(None, description="Learning rate that `predict` returns; null: none.")

    @field_validator("default_batch_size")
    @classmethod
    def _is_a_candidate(cls, default: int, info: ValidationInfo) -> int:
        candidates = info.data.get("batch_sizes")
        if candidates is not None and default not in candidates:
            raise ValueError(f"must be one of batch_sizes, {candidates}")
        return default

    def learning_rate_for(self, batch_size: int) -> float | None:
        """Return the learning rate to train with at a batch size; None when the job has none."""
        if self.learning_rate is None:
            return None
        return self.learning_rate.scaled_by(batch_size / self.default_batch_size)

    def has_converged(self, metric: float | None, epoch: float) -> bool:
        """Return whether a run is at its target; without a target, whether it has run its epochs."""
        if self.target is None:
            return epoch >= self.max_epochs
        return metric is not None and self.target.reached(metric)

    def default_batch_size_within(self, max_batch_size: int | None) -> int:
        """Return the default batch size, or the largest one that fits when the default does not.

        Args:
            max_batch_size: Largest batch size that fits; None: any. The answer itself when none of the job's fits.
        """
        if max_batch_size is None or self.default_batch_size <= max_batch_size:
            return self.default_batch_size
        return max((size for size in self.batch_sizes if size <= max_batch_size), default=max_batch_size)


class JobUpdate(Body):
    """The body of `update_job`: what is left out stays as it is."""

    eta_knob: EtaKnob = Field(0.5, description="Past runs are priced again with it.")
    beta_knob: BetaKnob | None = None
    max_slowdown: MaxSlowdown | None = None
    policy: Name = "rheostat"
    window_size: WindowSize = 0
    first_run: FirstRun = "predicted"
    exploration_budget_runs: BudgetRuns | None = 1.0
    survey_seconds: SurveySeconds = 120.0
    batch_sizes: BatchSizes | None = Field(None, description="All current batch sizes and the new ones.")
    default_batch_size: BatchSize = Field(1, description="One of the batch sizes.")
    target: Target | None = Field(
        None,
        description="Earlier runs count where their evaluations show that they reached it; of another metric none.",
    )
    max_epochs: MaxEpochs = Field(1, description="Earlier runs that failed before these no longer count as failed.")
    power_limits_watts: PowerLimits | None = None
    power_limit_step_watts: Watts = 25
    learning_rate: LearningRate | None = None
    diverged_after_reports: DivergedAfter | None = 3

    @model_validator(mode="after")
    def _names_a_setting(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must name at least one setting to change")
        if "batch_sizes" in self.model_fields_set and self.batch_sizes is None:
            raise ValueError("batch_sizes must be a list")
        return self


class Gpu(Body):
    """The GPUs of one run."""

    # Rules that fields alone do not tell, for clients that are made from the OpenAPI document.
    model_config = ConfigDict(
        json_schema_extra={
            "dependentRequired": {
                "min_power_limit_watts": ["max_power_limit_watts"],
                "max_power_limit_watts": ["min_power_limit_watts"],
            }
        }
    )

    model: Name = Field(examples=["Tesla V100-SXM2-32GB"])
    count: GpuCount = 1
    min_power_limit_watts: Watts | None = Field(
        None, description="Lowest limit of one GPU; null: its limit is not known or cannot be set."
    )
    max_power_limit_watts: Watts | None = Field(
        None,
        description="Highest limit of one GPU; null as `min_power_limit_watts`: then no limit is chosen or measured.",
    )
    enforced_limit_watts: Watts | None = Field(
        None,
        description="What bounds the power from outside, as a board's cap under its limit: no higher limit is offered "
        "on this node; null: unknown.",
    )
    power_scope: Literal["gpu", "module"] | None = Field(
        None,
        description="What power and energy are of: the GPU, or the module that carries it with its CPU. Null counts "
        "as `gpu`; GPUs of another scope are another placement.",
    )
    power_profile: Name | None = Field(
        None,
        description="The driver's workload power profile; null: none. GPUs with another one are another placement.",
    )

    @model_validator(mode="after")
    def _has_a_range_or_none(self) -> Self:
        lowest, highest = self.min_power_limit_watts, self.max_power_limit_watts
        if (lowest is None) != (highest is None):
            raise ValueError("give both min_power_limit_watts and max_power_limit_watts, or neither")
        if lowest is not None and highest is not None and highest < lowest:
            raise ValueError(f"max_power_limit_watts must not be less than min_power_limit_watts, {lowest}")
        return self


class Placement(Body):
    """A GPU model and count that the job has run on."""

    gpu: Gpu
    smallest_oom_batch_size: int | None = Field(
        description="It ran out of memory, so it and larger ones are not tried here; null: none did."
    )


class JobDetail(Body):
    """A registered job as it is now."""

    job_id: str
    settings: JobSettings
    effective_seed: int = Field(description="The seed in use: the job's, or the one that the server chose.")
    trials: int = Field(description="Number of trials ever made.")
    placements: list[Placement]
    control: JobControl | None = Field(None, description="What an operator ordered; null: nothing.")
    created_at: datetime
    updated_at: datetime


class JobPage(Body):
    """One page of jobs, in alphabetical order."""

    jobs: list[JobDetail]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null: this is the last.")


class PredictRequest(Body):
    """The body of `predict`."""

    gpu: Gpu
    node: Name | None = Field(None, description="Where it runs, for the list of trials.")
    max_batch_size: BatchSize | None = Field(None, description="Largest batch size that fits this node.")
    resumes: TrialId | None = Field(
        None,
        description="The trial from whose checkpoint this run goes on: with its batch size, where that fits, and with "
        "its totals so far. It ends.",
    )
    started_at_epoch: Epoch | None = Field(
        None, description="Epochs that the model has done before this run, from a checkpoint; null: none, or unknown."
    )
    on_used_key: Literal["same", "new"] = Field(
        "same",
        description="What an Idempotency-Key of a trial that has ended stands for: that trial, or a new one that takes "
        "the key.",
    )


class Trial(Body):
    """The settings of one run; the answer of `predict`."""

    trial_id: str
    job_id: str
    number: int = Field(description="Counts the job's trials from 1.")
    batch_size: int = Field(description="Global batch size, over all GPUs.")
    learning_rate: float | None
    power_limit_watts: int | None = Field(
        description="Best limit of each GPU; null: measure first, or no limit can be set when there is none to measure."
    )
    profile_power_limits_watts: list[int] = Field(
        description="Limits to measure, in order, when it is null; empty where no limit can be set on this GPU."
    )
    reason: str = Field(description="Why this batch size.")
    state: TrialState = Field("running", description="Another one for the Idempotency-Key of a trial that has ended.")
    lease_expires_at: datetime = Field(description="Report or send a heartbeat before then.")
    progress: TrialProgress | None = Field(
        None,
        description="What was reported before of a trial that goes on, for a trainer to add its own totals to; null: "
        "nothing was.",
    )
    warnings: list[str] = Field(
        default_factory=list, description="What is allowed but hardly meant, for the trainer's log; empty: nothing."
    )


class TrialDetail(Trial):
    """A trial and its results."""

    state_reason: str
    gpu: Gpu
    node: str | None
    epochs: float | None = Field(description="Epochs that the model had done at the latest report, counted from 1.")
    epochs_run: float | None = Field(
        None,
        description="Epochs that this trial has run itself: without those before it was resumed from a checkpoint, and "
        "with those that were run again.",
    )
    resumes: str | None = Field(None, description="The trial whose totals it carries on; null: none.")
    metric: float | None = Field(description="Latest value of the target metric.")
    energy_joules: float | None = Field(description="Total over all GPUs; null: unknown.")
    energy_is_estimated: bool = Field(
        description="Whether some of the energy was not reported and is estimated from the mean power of earlier runs; "
        "where the energy is null, whether the cost counts maximum power instead."
    )
    energy_estimate: str | None = Field(description="How the energy was estimated, in words; null: it was not.")
    time_seconds: float | None
    cost: float | None = Field(description="In joule equivalents, at the job's current eta_knob.")
    warning: str | None = Field(None, description="The warnings of all its answers, one a line; null: none.")
    created_at: datetime
    ended_at: datetime | None


class TrialPage(Body):
    """One page of trials, newest first."""

    trials: list[TrialDetail]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null: this is the last.")


class ObserveRequest(Body):
    """A report after an evaluation, or at the end of a run; figures are totals since the trial began."""

    epoch: Epoch = Field(
        description="Epochs done; fractional for evaluations inside an epoch. Where the first one after training is "
        "reported as 0, all count as one more; an evaluation before training is no epoch."
    )
    metric: Metric | None = Field(None, description="Value of the target metric; null: not evaluated, or not finite.")
    diverged: bool = Field(
        False, description="The metric was evaluated and is NaN or infinite, which JSON cannot say; it is null then."
    )
    energy_joules: Joules | None = Field(None, description="Energy so far over all GPUs; null: unknown.")
    energy_known_from_seconds: Seconds | None = Field(
        None,
        description="Training time that `energy_joules` leaves out: it counts only from then on; null or 0: none. What "
        "was used meanwhile is estimated.",
    )
    time_seconds: Seconds | None = Field(None, description="Training time so far; null: unknown.")
    started_at_epoch: Epoch | None = Field(
        None,
        description="Epochs that the model had done when this process began to train, from a checkpoint; null: none, "
        "or unknown.",
    )
    setup_seconds: Seconds | None = Field(
        None,
        description="What of `time_seconds` went by before the first training step: start-up, loading a checkpoint; "
        "null: unknown, then it is estimated from the reports.",
    )
    setup_joules: Joules | None = Field(None, description="What of `energy_joules` went by then; null: unknown.")
    outcome: Outcome | None = Field(None, description="Only when the trainer ends the run.")
    interrupted: bool = Field(
        False,
        description="With an outcome: somebody ended the run from outside, as with Ctrl-C, so that it says nothing of "
        "the batch size even when it ended before its first epoch.",
    )
    detail: Detail | None = Field(
        None, description="Why the trainer ends the run, on one line; it becomes part of the trial's reason."
    )

    @model_validator(mode="after")
    def _is_finite_or_diverged(self) -> Self:
        if self.diverged and self.metric is not None:
            raise ValueError("metric must be null when diverged is true")
        return self


class ObserveAnswer(Body):
    """Whether to go on, and the state of the trial."""

    state: TrialState
    action: Action
    reason: str
    power_limit_watts: int | None = Field(description="Best limit known so far; null: none.")
    warnings: list[str] = Field(
        default_factory=list, description="What is hardly meant in this trial's reports; the same until its end."
    )


class HeartbeatAnswer(Body):
    """The renewed lease."""

    state: TrialState
    lease_expires_at: datetime


class ObserveRunRequest(Body):
    """A whole run that no `predict` started."""

    batch_size: BatchSize
    gpu: Gpu
    cost: PositiveJoules | None = Field(None, description="In joules, when energy and time are not known separately.")
    energy_joules: PositiveJoules | None = None
    time_seconds: PositiveSeconds | None = None
    converged: bool | None = Field(None, description="Whether it reached the target; null: unknown.")

    @model_validator(mode="after")
    def _has_a_cost(self) -> Self:
        figures = self.energy_joules is not None or self.time_seconds is not None
        if (self.cost is None) == (not figures):
            raise ValueError("give either cost, or energy_joules and time_seconds")
        return self


class ObserveRunAnswer(Body):
    """The recorded run."""

    run_id: str
    cost: float = Field(description="In joule equivalents, at the job's eta_knob.")
