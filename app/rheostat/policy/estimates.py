"""What an optimizer believes of each arm, and how a job stands against always running the default."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate with its 95 % interval; None for what is not known."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None


UNKNOWN = Estimate()


@dataclass(frozen=True, slots=True)
class ArmEstimate:
    """The estimates of one batch size.

    Attributes:
        batch_size: The arm.
        runs: How many runs of it were observed.
        status: The arm's standing, as users read it.
        cost: Expected cost of a run in joules.
        epochs: Expected epochs to the target.
        epoch_cost: Expected cost of an epoch in joules, at the best power limit.
        probability_best: How likely it is the cheapest of all arms.
    """

    batch_size: int
    runs: int
    status: str
    cost: Estimate = UNKNOWN
    epochs: Estimate = UNKNOWN
    epoch_cost: Estimate = UNKNOWN
    probability_best: float | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """How a placement stands against "always the default at its best limit".

    Attributes:
        balance_runs: What the better batch sizes have saved, less what exploring has cost, in runs of the default.
        budget_runs: How far below zero exploring may take it; None: there is no bound.
        default_cost_joules: What a run of the default is expected to cost.
        saved_runs: What of the balance the better batch sizes have saved; the rest was spent on exploring.
    """

    balance_runs: float
    budget_runs: float | None
    default_cost_joules: float
    saved_runs: float = 0.0

    @property
    def left_runs(self) -> float:
        """What exploring may still lose."""
        return float("inf") if self.budget_runs is None else self.balance_runs + self.budget_runs

    @property
    def spent_runs(self) -> float:
        """What exploring has cost."""
        return self.saved_runs - self.balance_runs

    @property
    def standing(self) -> str:
        """How it stands, in words."""
        side = "ahead of" if self.balance_runs >= 0.0 else "behind"
        return f"so far {abs(self.balance_runs):.2f} runs {side} always running the default"
