"""The wire models of what a job has learned and saved: the answers of `estimates` and `savings`."""

from pydantic import Field

from rheostat.schemas.fields import Body
from rheostat.schemas.server import Gpu


class Estimate(Body):
    """The policy's estimate for one batch size on one placement."""

    batch_size: int
    runs: int
    energy_is_estimated: bool = Field(description="Whether the energy of some of its runs is estimated or unknown.")
    estimated_energy_runs: int = Field(
        description="Runs whose energy is estimated in whole or in part, or unknown: then their cost counts maximum "
        "power."
    )
    cost: float | None = Field(description="Expected cost of a run in joule equivalents; null: unknown.")
    cost_low: float | None = Field(description="Lower end of its 95 % interval.")
    cost_high: float | None = Field(description="Upper end of its 95 % interval.")
    epochs: float | None = Field(description="Expected epochs to the target; null: the policy has no estimate.")
    epochs_low: float | None = Field(description="Lower end of its 95 % interval.")
    epochs_high: float | None = Field(description="Upper end of its 95 % interval.")
    epoch_cost: float | None = Field(
        description="Expected cost of an epoch in joule equivalents, at the best power limit."
    )
    epoch_cost_low: float | None = Field(description="Lower end of its 95 % interval.")
    epoch_cost_high: float | None = Field(description="Upper end of its 95 % interval.")
    probability_best: float | None = Field(
        description="Probability that it is the cheapest; null: the policy has no estimate."
    )
    power_limit_watts: int | None = Field(description="Best limit; null: not measured.")
    status: str


class DefaultAccount(Body):
    """How a placement stands against always running the default, in expected runs of the default."""

    balance_runs: float = Field(
        description="`saved_runs` less `spent_runs`; below 0: behind always running the default."
    )
    saved_runs: float = Field(description="What converged runs of better batch sizes have saved.")
    spent_runs: float = Field(
        description="What exploring has cost beyond the default: dearer runs, stopped and failed."
    )
    budget_runs: float | None = Field(
        description="How far behind exploring may take it: the job's `exploration_budget_runs`, and a hundredth of it "
        "for every run beyond a hundred; null: no bound."
    )
    default_cost: float = Field(description="Expected cost of a run of the default in J-eq.")
    standing: str = Field(description="The same in words.")


class PlacementEstimates(Body):
    """The estimates of one placement."""

    gpu: Gpu
    arms: list[Estimate]
    account: DefaultAccount | None = Field(
        description="Null: nothing has converged on the job yet, or the policy keeps no account."
    )


class Estimates(Body):
    """The answer of `estimates`."""

    job_id: str
    policy: str
    placements: list[PlacementEstimates]


class Saving(Body):
    """One figure against always running the default batch size at the maximum power limit."""

    actual: float | None = Field(
        description="Total of all runs that have this figure, measured or estimated, failed and stopped ones and "
        "the survey before them among it."
    )
    surveyed: float | None = Field(description="What of it the survey before the first run took; null: unknown.")
    baseline: float | None = Field(description="Expected total of as many converged runs of the default.")
    saved_percent: float | None
    method: str = Field(description="How both figures were derived, or why one is missing.")


class PlacementSavings(Body):
    """The savings on one placement."""

    gpu: Gpu
    converged_runs: int
    energy_is_estimated: bool = Field(
        description="Whether some energy was not reported: it is estimated at the mean power of what was, and so are "
        "the costs that rest on it."
    )
    energy_known_share: float | None = Field(
        description="Share of the training time whose energy was reported; null: no time was reported."
    )
    baseline_is_estimated: bool = Field(
        False,
        description="Whether no run of the default has reached the target here: then what it needs is the policy's "
        "estimate.",
    )
    baseline_runs: int = Field(0, description="Runs of the default that have reached the target here.")
    energy_joules: Saving
    time_seconds: Saving
    cost: Saving


class Savings(Body):
    """The answer of `savings`."""

    job_id: str
    placements: list[PlacementSavings]
