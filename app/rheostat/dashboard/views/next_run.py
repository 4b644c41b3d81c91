"""What the next run trains with, and why not with what is likelier the cheapest."""

from dataclasses import dataclass

from rheostat.dashboard import words
from rheostat.dashboard.views import arms
from rheostat.schemas.insight import Estimate, PlacementEstimates
from rheostat.schemas.trials import Trial


@dataclass(frozen=True, slots=True)
class NextRun:
    """The next run, as things stand.

    Attributes:
        number: Its number.
        choice: What it trains with: the batch size, or, where there is no other, the power limit.
        limit: Its power limit, in words.
        reason: Why.
        why_not: Why it is not the batch size that is likelier the cheapest than the best known; empty: there is none.
    """

    number: int
    choice: str
    limit: str
    reason: str
    why_not: str


def next_run(
    upcoming: Trial | None, believed: PlacementEstimates | None, *, is_power_only: bool = False
) -> NextRun | None:
    """Return the next run of a placement; None: nothing can be said of it.

    Args:
        upcoming: What it trains with.
        believed: What is believed of the placement.
        is_power_only: Whether there is nothing to choose but the power limit.
    """
    if upcoming is None:
        return None
    if is_power_only:
        choice, limit = _power_alone(upcoming)
        return NextRun(upcoming.number, choice, limit, words.sentence(upcoming.reason), why_not="")
    if upcoming.power_limit_watts is not None:
        limit = f"at {words.watts(upcoming.power_limit_watts)}"
    else:
        is_measured = bool(upcoming.profile_power_limits_watts)
        limit = "while its power limits are measured" if is_measured else "without a power limit"
    likelier = _likelier(believed)
    has_other = believed is not None and likelier is not None and likelier.batch_size != upcoming.batch_size
    return NextRun(
        number=upcoming.number,
        choice=str(upcoming.batch_size),
        limit=limit,
        reason=words.sentence(upcoming.reason),
        why_not=_why_not(upcoming.job_id, likelier, believed) if has_other and likelier and believed else "",
    )


def _power_alone(upcoming: Trial) -> tuple[str, str]:
    if upcoming.power_limit_watts is not None:
        return words.watts(upcoming.power_limit_watts), "is the power limit"
    if upcoming.profile_power_limits_watts:
        return "Power limits", "are measured"
    return "Unchanged", "power limit"


def _likelier(believed: PlacementEstimates | None) -> Estimate | None:
    """Return the batch size that is likelier the cheapest than the best known one; None: there is none."""
    best = arms.recommendation(believed)
    known = [] if believed is None else [arm for arm in believed.arms if arm.probability_best is not None]
    if best is None or not known:
        return None
    likeliest = max(known, key=lambda arm: arm.probability_best or 0.0)
    return None if (likeliest.probability_best or 0.0) <= (best.chance or 0.0) else likeliest


def _why_not(job_id: str, arm: Estimate, believed: PlacementEstimates) -> str:
    size = arm.batch_size
    likelier = (
        f"{size} is likelier the cheapest, with {words.percent(100.0 * (arm.probability_best or 0.0))} probability"
    )
    if arm.status.startswith("converged"):
        return f"{likelier}, but its expected cost is higher, since it may be far dearer, too."
    account, allows, wider = believed.account, "", ""
    if account is not None and account.budget_runs is not None:
        left = max(account.budget_runs + account.balance_runs, 0.0)
        allows = (
            f", nor may it cost more than is left of the budget for exploring: {left:.2g} of {account.budget_runs:.3g} "
            "(in runs of the default)"
        )
        wider = f"; `rheostat jobs set {job_id} exploration_budget_runs={arms.wider_budget(account)}` allows for more"
    return (
        f"{likelier}, but no run of it has reached the target here. It is not tried while that is not expected to pay"
        f"{allows}. To try it all the same: `rheostat jobs force {job_id} {size}`{wider}."
    )
