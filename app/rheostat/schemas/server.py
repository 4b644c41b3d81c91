"""The wire models of jobs and GPUs; trials, power limits and the rest are in modules beside this one.

Bodies are strict: unknown fields, strings for numbers, booleans for numbers, NaN and infinities are refused, and
every list and string has a bound. Names carry their unit; times are RFC 3339 UTC. Rules that both sides apply are
methods here.
"""

from datetime import datetime
from math import sqrt
from typing import Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from rheostat.schemas.control import JobControl
from rheostat.schemas.fields import (
    BatchSize,
    BatchSizes,
    BetaKnob,
    Body,
    BudgetRuns,
    DefaultBatchSize,
    DivergedAfter,
    EtaKnob,
    FirstRun,
    GpuCount,
    MaxEpochs,
    MaxSlowdown,
    Metric,
    Name,
    PowerLimits,
    Seed,
    SurveySeconds,
    Watts,
    WindowSize,
)
from rheostat.schemas.zeus import Bound, ZeusSettings


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

    zeus: ZeusSettings | None = Field(
        None, description="What a job that was registered under `/zeus` asks besides; null: it was registered here."
    )
    batch_sizes: BatchSizes = Field(description="Batch sizes that may be tried.")
    default_batch_size: DefaultBatchSize = Field(
        description="The one that you would use otherwise; one of `batch_sizes`."
    )
    eta_knob: EtaKnob = Field(0.5, description="Weight of energy against time: 1 is energy alone, 0 time alone.")
    beta_knob: Bound | None = Field(
        2.0,
        description="A run is stopped when its cost passes this multiple of the lowest, at least 1; null: never.",
        json_schema_extra={"minimum": 1},
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

    @classmethod
    def power_only(cls, *, max_epochs: int, batch_size: int = 1, **settings: Any) -> Self:
        """Return the settings of a job whose batch size stays as it is: only its power limit is chosen.

        It has no target, and no run of it is stopped. A run that has trained and reports nothing counts as all its
        epochs when its block ends without an error.

        Args:
            max_epochs: How many epochs a run has.
            batch_size: What it trains with, if that is to be shown.
            **settings: Other settings.
        """
        alone = {"batch_sizes": [batch_size], "default_batch_size": batch_size, "max_epochs": max_epochs}
        return cls.model_validate({**alone, "beta_knob": None, "survey_seconds": 0.0, **settings})

    @field_validator("beta_knob")
    @classmethod
    def _is_at_least_1(cls, beta_knob: float | None, info: ValidationInfo) -> float | None:
        if beta_knob is not None and beta_knob < 1.0 and info.data.get("zeus") is None:
            raise ValueError("must be greater than or equal to 1")
        return beta_knob

    @property
    def is_power_only(self) -> bool:
        """Whether there is nothing to choose but the power limit."""
        return self.target is None and len(self.batch_sizes) == 1

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


UNKNOWN_MODEL = "unknown"
"""The model of a run's GPU where nothing names one, as on a machine that has none."""


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
    simulated: bool = Field(False, description="Whether it draws no power: its energy proves decisions, not savings.")

    @model_validator(mode="after")
    def _has_a_range_or_none(self) -> Self:
        lowest, highest = self.min_power_limit_watts, self.max_power_limit_watts
        if (lowest is None) != (highest is None):
            raise ValueError("give both min_power_limit_watts and max_power_limit_watts, or neither")
        if lowest is not None and highest is not None and highest < lowest:
            raise ValueError(f"max_power_limit_watts must not be less than min_power_limit_watts, {lowest}")
        return self

    def is_placed_with(self, other: "Gpu") -> bool:
        """Return whether both are of one placement: nodes may report other limits."""
        return self._placement == other._placement

    @property
    def _placement(self) -> tuple[object, ...]:
        return self.model, self.count, self.power_scope or "gpu", self.power_profile


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
