"""What would be best if energy weighed otherwise against time."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from rheostat.dashboard import words
from rheostat.dashboard.views import arms
from rheostat.dashboard.views.arms import Recommendation
from rheostat.dashboard.views.job import ArmRow, arm_rows
from rheostat.schemas.insight import PlacementEstimates
from rheostat.schemas.trials import TrialDetail


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The answer for one eta_knob.

    Attributes:
        eta_knob: The knob.
        verdict: What would be best, and whether that differs from today.
        runs: What recorded runs say of the difference in energy and time.
        arms: The batch sizes, priced at that knob.
    """

    eta_knob: float
    verdict: str
    runs: list[str]
    arms: list[ArmRow]


@dataclass(frozen=True, slots=True)
class _Mean:
    """What converged runs of a choice took on average."""

    runs: int
    energy_joules: float
    time_seconds: float


def what_if(
    eta_knob: float,
    today: PlacementEstimates,
    then: PlacementEstimates,
    trials: Sequence[TrialDetail],
    default_batch_size: int,
) -> WhatIf:
    """Return what would be best at another eta_knob.

    Args:
        eta_knob: The knob.
        today: The estimates of a placement at the job's own knob.
        then: The same at the other one.
        trials: Converged trials of the job.
        default_batch_size: The job's default.
    """
    now, other = arms.recommendation(today), arms.recommendation(then)
    here = [trial for trial in trials if trial.gpu.is_placed_with(today.gpu)]
    return WhatIf(
        eta_knob=eta_knob,
        verdict=_verdict(now, other),
        runs=_differences(now, other, here),
        arms=arm_rows(then, default_batch_size),
    )


def _verdict(now: Recommendation | None, other: Recommendation | None) -> str:
    if now is None or other is None:
        return "No run has converged yet: there is nothing to price."
    if (now.batch_size, now.power_limit_watts) == (other.batch_size, other.power_limit_watts):
        return f"The best known would stay {now.text}."
    return f"The best known would be {other.text}; today it is {now.text}."


def _differences(now: Recommendation | None, other: Recommendation | None, trials: Sequence[TrialDetail]) -> list[str]:
    if now is None or other is None:
        return []
    means = {choice.text: _mean(choice, trials) for choice in (other, now)}
    found = [_taken(text, mean) for text, mean in means.items()]
    new, old = means[other.text], means[now.text]
    if now.text != other.text and new is not None and old is not None and old.energy_joules and old.time_seconds:
        energy = words.saved_percent(100.0 * (1.0 - new.energy_joules / old.energy_joules))
        time = words.saved_percent(100.0 * (1.0 - new.time_seconds / old.time_seconds))
        found.append(f"That is {energy} energy and {time} time.")
    return found


def _taken(text: str, mean: _Mean | None) -> str:
    if mean is None:
        return f"Of {text} no run with known energy and time has converged among the latest."
    took = f"{words.energy(mean.energy_joules)} and {words.duration(mean.time_seconds)}"
    return f"Of {text}, {words.counted(mean.runs, 'run')} took {took}{' on average' if mean.runs > 1 else ''}."


def _mean(choice: Recommendation, trials: Sequence[TrialDetail]) -> _Mean | None:
    known = [
        (trial.energy_joules, trial.time_seconds)
        for trial in trials
        if (trial.batch_size, trial.power_limit_watts) == (choice.batch_size, choice.power_limit_watts)
        and trial.energy_joules is not None
        and trial.time_seconds is not None
    ]
    if not known:
        return None
    return _Mean(len(known), fmean(joules for joules, _ in known), fmean(seconds for _, seconds in known))
