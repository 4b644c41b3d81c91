"""The wire models of power limits: what to measure, and what was measured."""

from typing import Literal, Self

from pydantic import Field, model_validator

from rheostat.schemas.fields import MAX_MEASUREMENTS, BatchSize, Body, PositiveJoules, PositiveSeconds, Steps, Watts
from rheostat.schemas.server import Gpu


class PredictPowerLimitRequest(Body):
    """The body of `predict_power_limit`."""

    batch_size: BatchSize
    gpu: Gpu


class PowerLimitMeasurement(Body):
    """One limit, measured over some steps of training, or its epoch cost."""

    power_limit_watts: Watts | None = Field(
        None, description="Limit of each GPU; null: whatever was in force, where none can be set."
    )
    time_seconds: PositiveSeconds | None = None
    energy_joules: PositiveJoules | None = Field(
        None, description="Null: unknown; then the time is priced at maximum power."
    )
    steps: Steps | None = None
    steps_per_epoch: Steps | None = None
    cost: PositiveJoules | None = Field(None, description="Cost of one epoch in J-eq, instead of the other figures.")

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.cost is not None:
            figures = (self.time_seconds, self.energy_joules, self.steps, self.steps_per_epoch)
            if any(figure is not None for figure in figures):
                raise ValueError("give either cost, or time_seconds, energy_joules and steps")
        elif self.time_seconds is None or self.steps is None:
            raise ValueError(
                "time_seconds and steps must be given together, energy_joules if it is known, or else cost"
            )
        return self


class ObservePowerLimitRequest(Body):
    """The body of `observe_power_limit`."""

    batch_size: BatchSize
    gpu: Gpu
    measurements: list[PowerLimitMeasurement] = Field(default=[], max_length=MAX_MEASUREMENTS)
    outcome: Literal["oom"] | None = Field(
        None,
        description="In a survey, instead of measurements: the batch size does not fit in memory. It and larger ones "
        "are not tried here, unless one of them trains after all.",
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if bool(self.measurements) == (self.outcome is not None):
            raise ValueError("give either measurements, at least one, or outcome")
        return self


class PowerLimitAnswer(Body):
    """The best limit, or what to measure next."""

    power_limit_watts: int | None = Field(
        description="Best limit; null: measure first, or no limit can be set when there is none to measure."
    )
    profile_power_limits_watts: list[int] = Field(
        description="Limits to measure, in order, when it is null; empty where no limit can be set on this GPU."
    )


class SurveyRequest(Body):
    """The body of `survey`."""

    gpu: Gpu
    max_batch_size: BatchSize | None = Field(None, description="Largest batch size that fits this node.")


class SurveyStep(Body):
    """What to measure of one batch size."""

    batch_size: int
    power_limits_watts: list[int] = Field(
        description="A slice of training under each, in order; empty: one slice at whatever limit is in force."
    )


class SurveyAnswer(Body):
    """What is worth measuring before a run, in order. Report it by `observe_power_limit`, then ask again."""

    survey: list[SurveyStep] = Field(description="Empty: nothing is worth measuring, or nothing more.")
    slice_seconds: float = Field(description="How long a slice of training should be at most ...")
    slice_epochs: float = Field(description="... and how large a share of an epoch at the default batch size.")
    budget_seconds: float = Field(description="How long all slices that are left may take together.")
    reason: str = Field(description="Why this is asked for, or why nothing is.")
