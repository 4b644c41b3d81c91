"""The wire models of how well the costs of runs were predicted: the answer of `calibration`."""

from typing import Literal

from pydantic import Field

from rheostat.schemas.fields import Body, TrialState
from rheostat.schemas.server import Gpu

Verdict = Literal["too few runs", "about right", "too narrow", "too wide"]


class PredictedRun(Body):
    """What a run was predicted to cost when it began, and what it cost, both at the knobs of that moment."""

    trial_id: str
    number: int
    batch_size: int
    state: TrialState
    cost: float = Field(description="In joule equivalents. Of a censored run: what it had cost when it ended.")
    predicted: float = Field(description="The predicted median in joule equivalents.")
    predicted_low: float = Field(description="Lower end of the predicted 80 % interval.")
    predicted_high: float = Field(description="Upper end of the predicted 80 % interval.")
    probability: float = Field(description="How likely a cost below `cost` was held to be (probability integral).")
    is_censored: bool = Field(
        description="Whether it ended before its target, so that its cost to the target is only known to be higher."
    )


class Coverage(Body):
    """How many of the converged runs cost what a central interval of their predictions says."""

    level: float = Field(description="The share of runs that the interval should hold.")
    inside: int
    below: int
    above: int
    censored_above: int = Field(description="Censored runs that had passed its upper end; not counted in the others.")
    share: float | None = Field(description="`inside` as a share of the converged runs; null: there are none.")
    share_low: float | None = Field(
        description="Lower end of the 95 % interval of that share (Wilson), as if the runs were independent."
    )
    share_high: float | None = Field(description="Upper end of the 95 % interval of that share.")


class PlacementCalibration(Body):
    """How well the costs of the runs of one placement were predicted."""

    gpu: Gpu
    converged_runs: int = Field(description="Runs that reached their target, had a prediction and a known cost.")
    censored_runs: int = Field(
        description="Runs with a prediction that were stopped or failed; they count in no share, since what they would "
        "have cost is unknown."
    )
    median_ratio: float | None = Field(
        description="Median of cost over predicted median of the converged runs; null: there are none."
    )
    coverage: list[Coverage] = Field(description="Of the 50, 80 and 95 % intervals.")
    verdict: Verdict = Field(description="Of the 80 % interval: whether its share is within the uncertainty of 80 %.")
    statement: str = Field(description="The same in words.")
    runs: list[PredictedRun] = Field(description="In the order of their numbers.")


class Calibration(Body):
    """The answer of `calibration`: of the job's latest trials, those that its present policy predicted."""

    job_id: str
    policy: str
    latest_trials: int = Field(description="How many of the latest trials are looked at.")
    placements: list[PlacementCalibration]
