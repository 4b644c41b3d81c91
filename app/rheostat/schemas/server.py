"""The wire: every body that passes between a trainer and the server, shared by both sides.

Bodies are strict: unknown fields, strings for numbers, booleans for numbers, NaN and infinities are refused, and
every list and string has a bound. Units stand in the names; times are RFC 3339 UTC.
"""

import re
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
    model_validator,
)

JOB_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
IDEMPOTENCY_KEY_PATTERN = r"^[!-~]{1,128}$"

NAMESPACE_PATTERN = r"^[a-z0-9][a-z0-9-]{0,63}$"
NAMESPACE = re.compile(NAMESPACE_PATTERN)
DEFAULT_NAMESPACE = "default"

MAX_BATCH_SIZES = 64
MAX_POWER_LIMITS = 64
MAX_MEASUREMENTS = 256


def _printable(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("must be printable text without surrounding spaces")
    return text


def _whole(value: object) -> object:
    """Take 32.0 for 32: JSON knows one kind of number, and some clients write all of them with a point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(_whole)

# No control characters: PostgreSQL cannot hold NUL, and nobody can read the others.
Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]
JobId = Annotated[str, Field(pattern=JOB_ID_PATTERN, examples=["nightly-finetune"])]
Namespace = Annotated[str, Field(pattern=NAMESPACE_PATTERN, examples=["team-vision"])]
TrialId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", examples=["0123456789abcdef0123456789abcdef"])]
IdempotencyKey = Annotated[str, Field(pattern=IDEMPOTENCY_KEY_PATTERN, examples=["run-2026-11-23"])]

BatchSize = Annotated[int, Field(ge=1, le=2**31 - 1), Whole]
GpuCount = Annotated[int, Field(ge=1, le=65_536), Whole]
MaxEpochs = Annotated[int, Field(ge=1, le=1_000_000), Whole]
WindowSize = Annotated[int, Field(ge=0, le=1000), Whole]
Seed = Annotated[int, Field(ge=0, le=2**53 - 1), Whole]
Watts = Annotated[int, Field(ge=1, le=100_000), Whole]
Finite = Annotated[float, Field(allow_inf_nan=False)]
# Beyond these no run goes, and sums of a hundred thousand of them stay exact enough to compare.
Joules = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=1e10, allow_inf_nan=False)]
PositiveJoules = Annotated[float, Field(ge=1e-9, le=1e15, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(ge=1e-9, le=1e10, allow_inf_nan=False)]
Steps = Annotated[float, Field(ge=1e-3, le=1e12, allow_inf_nan=False)]  # figures are divided by them
Epoch = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Metric = Annotated[float, Field(ge=-1e300, le=1e300, allow_inf_nan=False)]
EtaKnob = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
BetaKnob = Annotated[float, Field(ge=1, le=1e6, allow_inf_nan=False)]
MaxSlowdown = Annotated[float, Field(ge=1, le=1e6, allow_inf_nan=False)]

Scope = Literal["trainer", "admin", "read"]
TrialState = Literal["running", "converged", "failed", "stopped", "oom", "cancelled", "abandoned"]
Outcome = Literal["failed", "oom", "cancelled"]
Action = Literal["continue", "stop"]


def _ascending(values: list[int]) -> list[int]:
    if len(set(values)) != len(values):
        raise ValueError("must not name a value twice")
    return sorted(values)


BatchSizes = Annotated[list[BatchSize], Field(min_length=1, max_length=MAX_BATCH_SIZES), AfterValidator(_ascending)]
PowerLimits = Annotated[list[Watts], Field(min_length=1, max_length=MAX_POWER_LIMITS), AfterValidator(_ascending)]


class Body(BaseModel):
    """Base of all bodies: strict, closed, and frozen once read."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Target(Body):
    """The metric value that a run is to reach."""

    metric: Name
    value: Metric
    direction: Literal["maximize", "minimize"]


class LearningRate(Body):
    """The learning rate at the default batch size, and how it follows the batch size."""

    default: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
    scaling: Literal["linear", "sqrt", "none"]


class JobSettings(Body):
    """What a recurring job asks of Rheostat; the body of `register_job`."""

    batch_sizes: BatchSizes = Field(description="Batch sizes that may be tried.")
    default_batch_size: BatchSize = Field(description="The one you would have used; one of `batch_sizes`.")
    eta_knob: EtaKnob = Field(0.5, description="Weight of energy against time: 1 is energy alone, 0 time alone.")
    beta_knob: BetaKnob | None = Field(
        2.0, description="A run is stopped when its cost passes this multiple of the lowest; null: never."
    )
    target: Target | None = Field(
        None, description="What a run must reach; null: it has converged when it has run `max_epochs`."
    )
    max_epochs: MaxEpochs = Field(description="A run that is not at its target by then has failed.")
    power_limits_watts: PowerLimits | None = Field(
        None, description="Limits of one GPU to choose from; null: the GPU's own range."
    )
    power_limit_step_watts: Watts = Field(25, description="Step through the GPU's range, from its maximum down.")
    max_slowdown: MaxSlowdown | None = Field(
        None, description="Longest epoch allowed, as a multiple of the fastest power limit's; null: any."
    )
    policy: Name = Field("rheostat", description="Name of the policy that decides.")
    window_size: WindowSize = Field(0, description="How many latest runs of an arm count; 0: all.")
    seed: Seed | None = Field(None, description="Seed of all draws; null: the server picks.")
    learning_rate: LearningRate | None = Field(None, description="Answer `predict` with a learning rate, too.")

    @field_validator("default_batch_size")
    @classmethod
    def _is_a_candidate(cls, default: int, info: ValidationInfo) -> int:
        candidates = info.data.get("batch_sizes")
        if candidates is not None and default not in candidates:
            raise ValueError(f"must be one of batch_sizes, {candidates}")
        return default


class JobUpdate(Body):
    """The body of `update_job`: what is left out stays as it is."""

    eta_knob: EtaKnob = Field(0.5, description="Past runs are priced anew with it.")
    beta_knob: BetaKnob | None = None
    max_slowdown: MaxSlowdown | None = None
    policy: Name = "rheostat"
    window_size: WindowSize = 0
    batch_sizes: BatchSizes | None = Field(None, description="All present batch sizes and the new ones.")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("must name at least one setting to change")
        if "batch_sizes" in self.model_fields_set and self.batch_sizes is None:
            raise ValueError("batch_sizes must be a list")
        return self


class Gpu(Body):
    """The GPUs of one run."""

    model: Name = Field(examples=["Tesla V100-SXM2-32GB"])
    count: GpuCount = 1
    min_power_limit_watts: Watts = Field(description="Lowest limit of one GPU.")
    max_power_limit_watts: Watts = Field(description="Highest limit of one GPU.")

    @field_validator("max_power_limit_watts")
    @classmethod
    def _is_not_under_the_lowest(cls, highest: int, info: ValidationInfo) -> int:
        lowest = info.data.get("min_power_limit_watts")
        if lowest is not None and highest < lowest:
            raise ValueError(f"must not be less than min_power_limit_watts, {lowest}")
        return highest


class Placement(Body):
    """A GPU model and count that the job has run on."""

    gpu: Gpu
    smallest_oom_batch_size: int | None = Field(
        description="It ran out of memory, so it and all larger ones are closed here; null: none did."
    )


class JobDetail(Body):
    """A registered job as it is now."""

    job_id: str
    settings: JobSettings
    effective_seed: int = Field(description="The seed in use: yours, or the one that the server picked.")
    trials: int = Field(description="How many trials were ever made.")
    placements: list[Placement]
    created_at: datetime
    updated_at: datetime


class JobPage(Body):
    """One page of jobs, in alphabetical order."""

    jobs: list[JobDetail]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null: this is the last.")


class PredictRequest(Body):
    """The body of `predict`."""

    gpu: Gpu
    node: Name | None = Field(None, description="Where it runs, for people who read the list of trials.")
    max_batch_size: BatchSize | None = Field(None, description="Largest one that this node can train with.")


class Trial(Body):
    """What one run of the job should train with; the answer of `predict`."""

    trial_id: str
    job_id: str
    number: int = Field(description="Counts the job's trials from 1.")
    batch_size: int = Field(description="Global batch size, over all GPUs.")
    learning_rate: float | None
    power_limit_watts: int | None = Field(description="Limit of each GPU; null: measure first.")
    profile_power_limits_watts: list[int] = Field(description="What to measure, in order, when it is null.")
    reason: str = Field(description="Why this batch size.")
    lease_expires_at: datetime = Field(description="Report or send a heartbeat before then.")


class TrialDetail(Trial):
    """A trial with what became of it."""

    state: TrialState
    state_reason: str
    gpu: Gpu
    node: str | None
    epochs: float | None = Field(description="Epochs done at the latest report.")
    metric: float | None = Field(description="Latest value of the target metric.")
    energy_joules: float | None
    time_seconds: float | None
    cost: float | None = Field(description="In joules, at the job's present eta_knob.")
    created_at: datetime
    ended_at: datetime | None


class TrialPage(Body):
    """One page of trials, newest first."""

    trials: list[TrialDetail]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null: this is the last.")


class ObserveRequest(Body):
    """A report after an evaluation, or at the end of a run; figures are totals since the trial began."""

    epoch: Epoch = Field(description="Epochs done; fractional for evaluations inside an epoch.")
    metric: Metric | None = Field(None, description="Value of the target metric; null: not evaluated.")
    energy_joules: Joules | None = Field(None, description="Energy so far over all GPUs; null: unknown.")
    time_seconds: Seconds | None = Field(None, description="Training time so far; null: unknown.")
    outcome: Outcome | None = Field(None, description="Only when the trainer itself ends the run.")


class ObserveAnswer(Body):
    """What to do now."""

    state: TrialState
    action: Action
    reason: str
    power_limit_watts: int | None = Field(description="Best limit known now; null: none yet.")


class HeartbeatAnswer(Body):
    """The lease after a sign of life."""

    state: TrialState
    lease_expires_at: datetime


class ObserveRunRequest(Body):
    """A whole run that no `predict` started."""

    batch_size: BatchSize
    gpu: Gpu
    cost: PositiveJoules | None = Field(None, description="In joules, when energy and time are not known apart.")
    energy_joules: PositiveJoules | None = None
    time_seconds: PositiveSeconds | None = None
    converged: bool | None = Field(None, description="Whether it reached the target; null: nobody knows.")

    @model_validator(mode="after")
    def _has_a_cost(self) -> Self:
        figures = self.energy_joules is not None or self.time_seconds is not None
        if (self.cost is None) == (not figures):
            raise ValueError("give either cost, or energy_joules and time_seconds")
        return self


class ObserveRunAnswer(Body):
    """What was recorded."""

    run_id: str
    cost: float = Field(description="In joules, at the job's eta_knob.")


class PredictPowerLimitRequest(Body):
    """The body of `predict_power_limit`."""

    batch_size: BatchSize
    gpu: Gpu


class PowerLimitMeasurement(Body):
    """One limit, measured over some steps of training, or its epoch cost."""

    power_limit_watts: Watts
    time_seconds: PositiveSeconds | None = None
    energy_joules: PositiveJoules | None = None
    steps: Steps | None = None
    steps_per_epoch: Steps | None = None
    cost: PositiveJoules | None = Field(None, description="Cost of one epoch in joules, instead of the other figures.")

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        figures = (self.time_seconds, self.energy_joules, self.steps)
        if self.cost is not None:
            if any(figure is not None for figure in (*figures, self.steps_per_epoch)):
                raise ValueError("give either cost, or time_seconds, energy_joules and steps")
        elif any(figure is None for figure in figures):
            raise ValueError("time_seconds, energy_joules and steps must be given together, or else cost")
        return self


class ObservePowerLimitRequest(Body):
    """The body of `observe_power_limit`."""

    batch_size: BatchSize
    gpu: Gpu
    measurements: list[PowerLimitMeasurement] = Field(min_length=1, max_length=MAX_MEASUREMENTS)


class PowerLimitAnswer(Body):
    """The best limit, or what to measure next."""

    power_limit_watts: int | None = Field(description="Best limit; null: measure first.")
    profile_power_limits_watts: list[int] = Field(description="What to measure, in order, when it is null.")


class Estimate(Body):
    """What the policy believes of one batch size on one placement."""

    batch_size: int
    runs: int
    cost: float | None = Field(description="Expected cost of a run in joules; null: unknown.")
    cost_low: float | None = Field(description="Lower end of its 95 % interval.")
    cost_high: float | None = Field(description="Upper end of its 95 % interval.")
    epochs: float | None = Field(description="Expected epochs to the target; null: the policy does not tell.")
    epochs_low: float | None = Field(description="Lower end of its 95 % interval.")
    epochs_high: float | None = Field(description="Upper end of its 95 % interval.")
    epoch_cost: float | None = Field(description="Expected cost of an epoch in joules, at the best power limit.")
    epoch_cost_low: float | None = Field(description="Lower end of its 95 % interval.")
    epoch_cost_high: float | None = Field(description="Upper end of its 95 % interval.")
    probability_best: float | None = Field(description="How likely it is the cheapest; null: the policy does not tell.")
    power_limit_watts: int | None = Field(description="Best limit; null: not measured.")
    status: str


class PlacementEstimates(Body):
    """The estimates of one placement."""

    gpu: Gpu
    arms: list[Estimate]


class Estimates(Body):
    """The answer of `estimates`."""

    job_id: str
    policy: str
    placements: list[PlacementEstimates]


class Saving(Body):
    """One figure against always running the default batch size at the maximum power limit."""

    actual: float | None = Field(description="What all runs came to; failed and stopped ones are in it.")
    baseline: float | None = Field(description="What as many runs of the default would have come to.")
    saved_percent: float | None
    method: str = Field(description="How both figures were got, or why one is missing.")


class PlacementSavings(Body):
    """The savings on one placement."""

    gpu: Gpu
    converged_runs: int
    energy_joules: Saving
    time_seconds: Saving
    cost: Saving


class Savings(Body):
    """The answer of `savings`."""

    job_id: str
    placements: list[PlacementSavings]


class AuditEntry(Body):
    """One change, and who made it."""

    at: datetime
    namespace: str | None = Field(description="Whose job it was; null: it concerns the whole server.")
    actor: str = Field(description="The token's name and id, or the user of the command line.")
    action: str
    subject: str = Field(description="Id of the job, or of the token.")
    details: dict[str, JsonValue]


class AuditPage(Body):
    """One page of the audit trail, newest first."""

    entries: list[AuditEntry]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null: this is the last.")


class Health(Body):
    """The answer of the health routes."""

    status: Literal["ok"]


class FieldProblem(Body):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(Body):
    """An error, as `application/problem+json` (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable name of the error.")
    retryable: bool = Field(description="Whether the same request may succeed later.")
    hint: str = ""
    fields: list[FieldProblem] = []
