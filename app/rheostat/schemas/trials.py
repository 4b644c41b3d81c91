"""The wire models of trials: what to train with, what is reported of it, and whole runs that no trial stands for."""

from datetime import datetime
from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from rheostat.schemas.fields import (
    Action,
    BatchSize,
    Body,
    Curve,
    Detail,
    Epoch,
    IdempotencyKey,
    Joules,
    Metric,
    Name,
    Outcome,
    PositiveEpoch,
    PositiveJoules,
    PositiveSeconds,
    Seconds,
    TrialState,
    Watts,
)
from rheostat.schemas.nodes import NodeReport
from rheostat.schemas.server import Gpu
from rheostat.schemas.tags import Tags


class PredictRequest(Body):
    """The body of `predict`."""

    gpu: Gpu
    node: Name | None = Field(None, description="Where it runs, for the list of trials.")
    max_batch_size: BatchSize | None = Field(None, description="Largest batch size that fits this node.")
    resumes: IdempotencyKey | None = Field(
        None,
        description="Id or Idempotency-Key of the trial from whose checkpoint this run goes on: with its batch size, "
        "where that fits, and with its totals so far. That trial ends.",
    )
    started_at_epoch: Epoch | None = Field(
        None, description="Epochs that the model has done before this run, from a checkpoint; null: none, or unknown."
    )
    on_used_key: Literal["same", "new"] = Field(
        "same",
        description="What an Idempotency-Key of a trial that has ended stands for: that trial, or a new one that takes "
        "the key.",
    )
    tags: Tags = Field(
        default_factory=dict, description="What else the run is known by; those of the latest request of a key count."
    )


class TrialProgress(Body):
    """What was reported of a trial that goes on in another process, for it to add its own figures to."""

    epoch: float = Field(description="Epochs done at the latest report.")
    metric: float | None = Field(description="Latest value of the target metric; null: not evaluated.")
    energy_joules: float | None = Field(description="Total so far; null: unknown, and so are the totals from now on.")
    time_seconds: float | None = Field(description="Total so far; null: unknown, and so are the totals from now on.")


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
    tags: dict[str, str] = Field(default_factory=dict, description="What else it is known by.")
    nodes: list[NodeReport] = Field(
        default_factory=list, description="What it reported of its nodes, the leading one first; empty: nothing."
    )
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
    converged: bool | None = Field(
        None, description="Whether it reached the target; null: as its curve says, else unknown."
    )
    epochs: PositiveEpoch | None = Field(
        None, description="Epochs that it ran; null: unknown, then it says nothing of epochs and stops no run."
    )
    curve: Curve | None = Field(
        None, description="Its evaluations, [epoch, metric] each, in the order of their epochs; needs `epochs`."
    )
    power_limit_watts: Watts | None = Field(None, description="Limit of each GPU while it ran; null: unknown.")

    @field_validator("curve")
    @classmethod
    def _is_of_its_epochs(cls, curve: list[list[float]] | None, info: ValidationInfo) -> list[list[float]] | None:
        if curve is not None and "epochs" in info.data:
            last, at = info.data["epochs"], [epoch for epoch, _ in curve]
            if last is None or at != sorted(set(at)) or at[0] <= 0.0 or at[-1] > last:
                raise ValueError("its epochs must ascend, from above 0 up to `epochs`")
        return curve

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
