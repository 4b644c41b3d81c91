"""What a job saved on each day."""

from collections.abc import Sequence
from datetime import date

from rheostat.schemas.report import SavedFigure
from rheostat.schemas.review import DayUse
from rheostat.schemas.summary import JobSummary


def saved_joules_by_day(summary: JobSummary) -> dict[date, float]:
    """Return the energy that a job saved by the day on which its runs ended; it adds up to what its report says."""
    saved: dict[date, float] = {}
    for placement, use in zip(summary.report.placements, summary.use, strict=True):
        for day, joules in _of_placement(placement.energy_joules, use.days).items():
            saved[day] = saved.get(day, 0.0) + joules
    return saved


def _of_placement(total: SavedFigure, days: Sequence[DayUse]) -> dict[date, float]:
    """Return what was saved on each day: the default's energy for each run that converged, less what was used.

    What the report adds to the energy that is known, by estimate, goes to the days on which runs reported none; where
    all did, it is that of the survey before the first run.
    """
    if total.actual is None or not total.baseline or not days:
        return {}
    silent_seconds = sum(day.seconds_without_energy for day in days)
    added = total.actual - sum(day.energy_joules for day in days)
    is_estimated = bool(silent_seconds) and total.origin != "unknown" and added > 0
    converged = {day.day: day.converged_runs - day.converged_without_energy * (not is_estimated) for day in days}
    runs = sum(converged.values())
    saved = {}
    for at, day in enumerate(days):
        share = day.seconds_without_energy / silent_seconds if is_estimated else float(at == 0)
        baseline = total.baseline * converged[day.day] / runs if runs else 0.0
        saved[day.day] = baseline - day.energy_joules - added * share
    return saved
