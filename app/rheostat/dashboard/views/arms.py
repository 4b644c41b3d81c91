"""The batch sizes of a job: which is recommended, and what to note about the others."""

from dataclasses import dataclass
from math import ceil

from rheostat.dashboard import words
from rheostat.schemas.insight import DefaultAccount, Estimate, PlacementEstimates


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What a placement would train with if it explored nothing."""

    batch_size: int
    power_limit_watts: int | None
    chance: float | None
    is_power_only: bool = False

    @property
    def text(self) -> str:
        """The recommendation in words."""
        if self.is_power_only:
            return words.watts(self.power_limit_watts)
        limit = "" if self.power_limit_watts is None else f" at {words.watts(self.power_limit_watts)}"
        return f"{self.batch_size}{limit}"


def recommendation(estimates: PlacementEstimates | None, *, is_power_only: bool = False) -> Recommendation | None:
    """Return the best known batch size of a placement; None: nothing has converged."""
    arms = () if estimates is None else estimates.arms
    for arm in arms:
        if arm.status == "best known" and not (is_power_only and arm.power_limit_watts is None):
            # Of a single batch size it says nothing that it is the cheapest.
            chance = arm.probability_best if len(arms) > 1 else None
            return Recommendation(arm.batch_size, arm.power_limit_watts, chance, is_power_only)
    return None


def wider_budget(account: DefaultAccount) -> int:
    """Return an `exploration_budget_runs` that allows a job to explore more than it may now."""
    budget = account.budget_runs or 0.0
    return ceil(budget + max(-account.balance_runs, budget, 1.0))


def left_out(estimates: PlacementEstimates | None) -> list[Estimate]:
    """Return the batch sizes that are not tried: closed, or left out after crashes."""
    arms = () if estimates is None else estimates.arms
    return [arm for arm in arms if arm.status.startswith(("closed", "left out"))]
