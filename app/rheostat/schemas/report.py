"""The wire models of the savings report: what jobs used and saved, with uncertainty and origin."""

from typing import Literal

from pydantic import Field

from rheostat.schemas.fields import Body
from rheostat.schemas.server import Gpu

Origin = Literal["measured", "estimated", "simulated", "unknown"]


class SavedFigure(Body):
    """What was saved of one figure against always running the default batch size at the maximum power limit."""

    actual: float | None = Field(description="Total of all runs; null: unknown.")
    baseline: float | None = Field(description="Expected total of as many converged runs of the default.")
    saved: float | None = Field(description="`baseline` less `actual`; negative: more was used.")
    saved_low: float | None = Field(
        description="Lower end of its 95 % interval. It covers how many epochs a run of the default needs, as far as "
        "that is known; errors of measurement and of estimated energy are not in it. Null: the policy has no estimate "
        "of those epochs."
    )
    saved_high: float | None = Field(description="Upper end of its 95 % interval.")
    saved_percent: float | None
    origin: Origin = Field(description="Of `actual`: simulated where the GPU is.")
    method: str = Field(description="How both totals were derived, or why one is missing.")


class PlacementReport(Body):
    """What was saved on one placement."""

    gpu: Gpu
    converged_runs: int
    baseline_is_estimated: bool = Field(
        False,
        description="Whether no run of the default has reached the target here: then what it needs is the policy's "
        "estimate.",
    )
    baseline_runs: int = Field(0, description="Runs of the default that have reached the target here.")
    energy_joules: SavedFigure
    time_seconds: SavedFigure
    cost: SavedFigure = Field(description="In joule equivalents, at the job's current eta_knob.")


class JobReport(Body):
    """What a job saved."""

    job_id: str
    placements: list[PlacementReport]


class ReportPage(Body):
    """One page of the savings report of all jobs, in alphabetical order."""

    jobs: list[JobReport]
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null: this is the last.")
