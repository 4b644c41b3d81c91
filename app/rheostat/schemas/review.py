"""The wire models for looking back: what trials reported, what power limits cost, and what was used on each day."""

from datetime import date, datetime
from typing import Literal

from pydantic import Field

from rheostat.schemas.fields import Body, Outcome, TrialState
from rheostat.schemas.nodes import NodeReport
from rheostat.schemas.server import Gpu


class Observation(Body):
    """A report of a trial; figures are totals since the trial began."""

    epoch: float
    metric: float | None
    energy_joules: float | None
    time_seconds: float | None
    outcome: Outcome | None = Field(description="Only where the trainer ended the run with it.")
    received_at: datetime
    state: TrialState = Field(description="The state that it was answered with.")
    reason: str


class ObservationPage(Body):
    """One page of a trial's reports, in the order of their epochs."""

    observations: list[Observation]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null: this is the last.")


class PowerPoint(Body):
    """The latest measurement of a power limit at a batch size, scaled to one epoch."""

    power_limit_watts: int
    cost: float = Field(description="In joule equivalents, at the job's current eta_knob.")
    energy_joules: float | None
    time_seconds: float | None
    of_an_epoch: bool = Field(description="False: of a step, since the number of steps of an epoch is unknown.")
    surveyed: bool = Field(description="Whether it was measured in a survey rather than in a run.")


class PowerCurve(Body):
    """What each measured power limit costs at one batch size."""

    batch_size: int
    points: list[PowerPoint] = Field(description="In the order of their limits.")


class PlacementPowerCurves(Body):
    """The power curves of one placement."""

    gpu: Gpu
    curves: list[PowerCurve] = Field(description="In the order of their batch sizes.")


class PowerCurves(Body):
    """The answer of `power_curves`."""

    job_id: str
    placements: list[PlacementPowerCurves]


class DayUse(Body):
    """What the runs that ended on one day (UTC), or began then and run still, used on one placement."""

    day: date
    runs: int
    converged_runs: int
    energy_joules: float = Field(description="Of the runs whose energy is known or estimated.")
    time_seconds: float
    runs_without_energy: int
    converged_without_energy: int
    seconds_without_energy: float


class PlacementUse(Body):
    """What was used on each day on one placement."""

    gpu: Gpu
    days: list[DayUse]


class Node(Body):
    """A node, as its latest trial shows it."""

    node: str
    job_id: str
    trial_id: str
    number: int
    state: TrialState
    gpu: Gpu | None = Field(description="What it reported of its GPUs; null: an older release did not ask.")
    power_limit_watts: int | None = Field(description="Limit that the trial was given; null: none, or measuring.")
    energy: Literal["metered", "estimated", "unknown"] = Field(description="How the energy of the trial is known.")
    warning: str | None
    report: NodeReport | None = Field(description="What the trial reported of it; null: nothing.")
    running: int = Field(description="Trials that run on it now.")
    seen_at: datetime = Field(description="When the trial ended, or began if it runs.")


class RunningTrial(Body):
    """A trial that runs now, of any job."""

    job_id: str
    trial_id: str
    number: int
    batch_size: int
    power_limit_watts: int | None
    gpu_model: str
    gpu_count: int
    node: str | None
    epochs: float | None
    metric: float | None
    energy_joules: float | None
    time_seconds: float | None
    created_at: datetime
