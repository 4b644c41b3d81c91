"""The wire protocol of Zeus's batch size optimizer server, as its client speaks it, and what a job keeps of it.

Unlike our own bodies these ignore unknown fields. Numbers are as strict: no strings, no booleans, no NaN but for a
metric, which is then one that diverged.
"""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rheostat.schemas.fields import (
    BatchSize,
    BatchSizes,
    Body,
    DefaultBatchSize,
    EtaKnob,
    GpuCount,
    JobId,
    Joules,
    MaxEpochs,
    Metric,
    Name,
    Seconds,
    Seed,
    Whole,
    WindowSize,
)

Bound = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
JobIdPrefix = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,118})?$")]
"""Leaves room for a hyphen and the digits that make it an id."""
PruningRounds = Annotated[int, Field(ge=0, le=100), Whole]
Explorations = Annotated[int, Field(ge=0, le=1_000_000), Whole]
Reward = Annotated[float, Field(ge=-1e25, le=1e25, allow_inf_nan=False)]
Precision = Annotated[float, Field(ge=0, le=1e30, allow_inf_nan=False)]
MaxPower = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
TrialNumber = Annotated[int, Field(ge=1, le=2**63 - 1), Whole]
ReportedEpoch = Annotated[int, Field(ge=0, le=1_000_000), Whole]


class ZeusSettings(Body):
    """What a job that was registered under `/zeus` asks besides its other settings; its GPUs are those of every run."""

    job_id_prefix: JobIdPrefix = Field(description="Beginning of its id.")
    num_pruning_rounds: PruningRounds = Field(2, description="How often each surviving batch size is explored.")
    mab_prior_mean: Reward = Field(0.0, description="Mean of the prior of each arm's reward, the negative cost.")
    mab_prior_precision: Precision = Field(0.0, description="Its precision; 0: it says nothing.")
    mab_num_explorations: Explorations = Field(2, description="Results that an arm needs before it is sampled.")
    max_power: MaxPower = Field(description="What all GPUs together draw at most, in watts; it prices the time.")
    number_of_gpus: GpuCount
    gpu_model: Name


class _Zeus(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class ZeusJob(ZeusSettings):
    """A job; the body of `zeus_register_job` and, with its id, the answer."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    job_id: JobId | None = Field(None, description="It begins with `job_id_prefix`; null: the server makes one.")
    batch_sizes: BatchSizes
    default_batch_size: DefaultBatchSize
    eta_knob: EtaKnob = 0.5
    beta_knob: Bound | None = 2.0
    target_metric: Metric = 0.5
    higher_is_better_metric: bool = True
    max_epochs: MaxEpochs = 100
    window_size: WindowSize = 0
    mab_seed: Seed | None = None

    @model_validator(mode="after")
    def _begins_with_its_prefix(self) -> Self:
        if self.job_id is not None and not self.job_id.startswith(self.job_id_prefix):
            raise ValueError(f"job_id must begin with job_id_prefix, {self.job_id_prefix}")
        return self


class ZeusTrial(_Zeus):
    """Names a trial of a job; the answer of `zeus_predict` and the body of `zeus_end_trial`."""

    job_id: JobId
    batch_size: BatchSize
    trial_number: TrialNumber = Field(description="Counts the job's trials from 1.")


class ZeusReport(ZeusTrial):
    """A report after an evaluation; figures are totals since the trial began."""

    time: Seconds = Field(description="In seconds.")
    energy: Joules = Field(description="In joules, over all GPUs.")
    metric: float = Field(description="Value of the target metric; NaN or infinite: the run diverged.")
    current_epoch: ReportedEpoch = Field(description="Epochs done.")


class ZeusVerdict(BaseModel):
    """Whether to go on."""

    stop_train: bool
    converged: bool
    message: str


class ZeusMessage(BaseModel):
    """An error."""

    message: str
