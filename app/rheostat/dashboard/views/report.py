"""What the savings report shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from rheostat.dashboard import words
from rheostat.dashboard.views.savings import against_estimate, total
from rheostat.schemas.report import JobReport, PlacementReport, SavedFigure

INTERVAL_COVERS = (
    "The 95 % interval covers how many epochs a run of the default needs; errors of measurement are not in it."
)


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A line of the report: a placement of a job."""

    job_id: str
    gpu: str
    runs: int
    energy: str
    interval: str
    energy_percent: str
    time_percent: str
    cost_percent: str
    origin: str
    method: str


def report_rows(reports: Sequence[JobReport]) -> list[ReportRow]:
    """Return the lines of the report."""
    return [
        ReportRow(
            job_id=report.job_id,
            gpu=words.gpu(placement.gpu.model, placement.gpu.count),
            runs=placement.converged_runs,
            energy=_saved(placement.energy_joules),
            interval=_interval(placement.energy_joules),
            energy_percent=_share(placement.energy_joules),
            time_percent=_share(placement.time_seconds),
            cost_percent=_share(placement.cost),
            origin=placement.energy_joules.origin if total([placement.energy_joules]) else words.UNKNOWN,
            method=how_got(placement),
        )
        for report in reports
        for placement in report.placements
    ]


def how_got(placement: PlacementReport) -> str:
    """Return how each figure was got, or why it is missing; those alike together."""
    names: dict[str, list[str]] = {}
    for name, figure in (
        ("energy", placement.energy_joules),
        ("time", placement.time_seconds),
        ("cost", placement.cost),
    ):
        names.setdefault(figure.method, []).append(name)
    return " ".join(words.sentence(f"{', '.join(alike)}: {method}") for method, alike in names.items() if method)


def basis(reports: Sequence[JobReport]) -> str:
    """Return where the figures come from."""
    placements = [placement for one in reports for placement in one.placements if placement.converged_runs]
    runs = sum(placement.converged_runs for placement in placements)
    if not runs:
        return ""
    origins = {placement.energy_joules.origin for placement in placements}
    jobs = len({one.job_id for one in reports for placement in one.placements if placement.converged_runs})
    text = (
        f"Against always running the default batch size at the highest power limit, over {words.counted(runs, 'run')} "
        f"of {words.counted(jobs, 'job')} that reached their target; all that exploring, stopped and failed runs used "
        "is counted."
    )
    if "simulated" in origins:
        text += " Some of it is of simulated GPUs, where no joule was measured."
    if "estimated" in origins:
        text += " Some of the energy is estimated."
    if any(placement.energy_joules.saved_low is not None for placement in placements):
        text += f" {INTERVAL_COVERS}"
    return " ".join(filter(None, (text, against_estimate(reports))))


def _saved(figure: SavedFigure) -> str:
    found = total([figure])
    return words.UNKNOWN if found is None else found.text(words.energy.saved(found.saved))


def _share(figure: SavedFigure) -> str:
    found = total([figure])
    return words.UNKNOWN if found is None else found.text(words.saved_percent(found.percent))


def _interval(figure: SavedFigure) -> str:
    low, high = figure.saved_low, figure.saved_high
    if low is None or high is None:
        return words.UNKNOWN
    if low < 0.0 < high:
        return f"{words.energy.saved(low)} to {words.energy.saved(high)}"
    low, high = sorted((abs(low), abs(high)))
    return f"{words.energy.interval(low, high)} {words.less(figure.saved or 0.0)}"
