"""The wire models of power limits: what to measure, and what was measured."""

from typing import Self

from pydantic import Field, model_validator

from rheostat.schemas.fields import MAX_MEASUREMENTS, BatchSize, Body, PositiveJoules, PositiveSeconds, Steps, Watts
from rheostat.schemas.server import Gpu


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

    power_limit_watts: int | None = Field(
        description="Best limit; null: measure first, or no limit can be set when there is none to measure."
    )
    profile_power_limits_watts: list[int] = Field(
        description="Limits to measure, in order, when it is null; empty where no limit can be set on this GPU."
    )
