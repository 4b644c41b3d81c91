"""What a run costs before its first training step: start-up, loading data or a checkpoint.

Its trainer reports that part, or else the run's own reports tell it: the line through the totals of the first and the
latest report begins there at epoch 0. It is stored with the trial, so that a rebuild finds the same figures.
"""

from typing import Any

from rheostat.domain.epochs import place
from rheostat.domain.records import TrialRecord
from rheostat.policy.cost import Outlay, outlay_of
from rheostat.schemas.trials import ObserveRequest

FARTHEST = 2.0
"""The line is carried back over no more than so many times the epochs that it spans: else it is but noise."""


def figures_after(trial: TrialRecord, request: ObserveRequest, totals: dict[str, Any]) -> dict[str, Any]:
    """Return what is known of a trial's part before its first step, after a report.

    Args:
        trial: The trial before the report.
        request: The report.
        totals: The trial's time and energy after it.
    """
    energy, time = totals.get("energy_joules", trial.energy_joules), totals["time_seconds"]
    if request.setup_seconds is not None:
        return {
            "setup_seconds": _at_most(request.setup_seconds, time),
            "setup_joules": _at_most(request.setup_joules, energy),
            "first_report": None,
        }
    began, now, first = trial.started_at_epoch or 0.0, place(trial, request.epoch), trial.first_report
    if first is None:
        is_first = trial.setup_seconds is None and now > began
        return {"first_report": {"place": now, "time_seconds": time, "energy_joules": energy}} if is_first else {}
    ran, since = first["place"] - began, now - first["place"]
    if not 0.0 < ran <= FARTHEST * since:
        return {}
    back = ran / since
    return {
        "setup_seconds": _at_start(first["time_seconds"], time, back),
        "setup_joules": _at_start(first["energy_joules"], energy, back),
    }


def outlay(trial: TrialRecord) -> Outlay | None:
    """Return what a trial took before its first step; None: unknown.

    Unknown energy of that part is taken to be its share of the trial's, by the time.
    """
    joules, seconds = trial.setup_joules, trial.setup_seconds
    if joules is None and seconds is not None and trial.energy_joules is not None and trial.time_seconds:
        joules = trial.energy_joules * seconds / trial.time_seconds
    return outlay_of(joules, seconds)


def trained_outlay(trial: TrialRecord) -> Outlay | None:
    """Return what a trial took from its first step on, as far as that is known."""
    whole, fixed = outlay_of(trial.energy_joules, trial.time_seconds), outlay(trial)
    return whole if whole is None or fixed is None else whole.less(fixed)


def _at_most(figure: float | None, total: float | None) -> float | None:
    return figure if figure is None or total is None else min(figure, total)


def _at_start(first: float | None, latest: float | None, back: float) -> float | None:
    """Return where the line through two totals begins: ``back`` times their difference before the first."""
    if first is None or latest is None:
        return None
    return min(max(first - back * (latest - first), 0.0), first)
