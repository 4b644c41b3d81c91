"""What an optimizer believes of each arm, and how a job stands against always running the default."""

from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Self

_STANDARD = NormalDist()


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
class CostPrediction:
    """What a single run that reaches its target is predicted to cost: a fixed part and a lognormal one, in joules.

    It is wider than the interval of an :class:`ArmEstimate`, which is of the expected cost: runs differ.

    Attributes:
        log_mean: Mean of the logarithm of what the epochs cost.
        log_deviation: Its standard deviation, above 0.
        fixed: What the run costs before its first step.
    """

    log_mean: float
    log_deviation: float
    fixed: float = 0.0

    @classmethod
    def of_moments(cls, mean: float, variance: float) -> Self:
        """Return the prediction of a mean and a variance, both above 0."""
        log_variance = log(1.0 + variance / mean**2)
        return cls(log(mean) - 0.5 * log_variance, sqrt(log_variance))

    @property
    def median(self) -> float:
        """The cost that a run exceeds as often as not."""
        return self.fixed + exp(self.log_mean)

    def quantile(self, probability: float) -> float:
        """Return the cost that a run stays below with a probability between 0 and 1."""
        return self.fixed + exp(self.log_mean + self.log_deviation * _STANDARD.inv_cdf(probability))

    def probability_below(self, cost: float) -> float:
        """Return the probability that a run costs less."""
        if cost <= self.fixed:
            return 0.0
        return _STANDARD.cdf((log(cost - self.fixed) - self.log_mean) / self.log_deviation)


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
