"""What the home page shows: what was saved in all, what wants attention, what runs, and the jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from rheostat.dashboard import words
from rheostat.dashboard.site import Site
from rheostat.dashboard.views import arms
from rheostat.dashboard.views.attention import Attention, attention, ranked
from rheostat.dashboard.views.report import basis
from rheostat.dashboard.views.savings import Tile, tiles, total
from rheostat.schemas.summary import JobSummary, UnreadableJob
from rheostat.visualization.savings import saved_by_day
from rheostat.visualization.style import Figure


@dataclass(frozen=True, slots=True)
class JobRow:
    """A line of the list of jobs."""

    job_id: str
    gpus: str
    trials: int
    state: str
    state_reason: str
    ago: str
    latest_at: datetime | None
    best: str
    energy: str
    cost: str
    cost_saved_percent: float | None


@dataclass(frozen=True, slots=True)
class Home:
    """The home page."""

    tiles: list[Tile]
    basis: str
    figure: Figure | None
    is_sure: bool
    attention: list[Attention]


def home(
    summaries: Sequence[JobSummary], unreadable: Sequence[UnreadableJob], saved_joules: Mapping[date, float], site: Site
) -> Home:
    """Return what the home page shows of jobs.

    Args:
        summaries: The jobs that can be shown.
        unreadable: The others.
        saved_joules: What they saved on each day.
        site: The prices.
    """
    reports = [summary.report for summary in summaries]
    energy = total([placement.energy_joules for one in reports for placement in one.placements])
    noted = [Attention(job.job_id, "error", f"Not shown or counted: {job.reason}") for job in unreadable]
    noted += [one for summary in summaries for one in attention(summary)]
    return Home(
        tiles=tiles(reports, site),
        basis=basis(reports),
        figure=saved_by_day(saved_joules, is_sure=energy is None or not energy.is_open),
        is_sure=energy is None or not energy.is_open,
        attention=ranked(noted),
    )


def job_row(summary: JobSummary, now: datetime) -> JobRow:
    """Return a job's line in the list."""
    job, latest = summary.job, summary.latest
    placements = [] if summary.estimates is None else summary.estimates.placements
    alone = job.settings.is_power_only
    found = [arms.recommendation(placement, is_power_only=alone) for placement in placements]
    best = [one.text for one in found if one is not None]
    energy = total([placement.energy_joules for placement in summary.report.placements])
    cost = total([placement.cost for placement in summary.report.placements])
    latest_at = None if latest is None else latest.ended_at or latest.created_at
    return JobRow(
        job_id=job.job_id,
        gpus=", ".join(words.gpu(one.gpu.model, one.gpu.count) for one in job.placements) or words.UNKNOWN,
        trials=job.trials,
        state=latest.state if latest else "imported" if summary.was_imported else "never run",
        state_reason="" if latest is None else latest.state_reason or latest.reason,
        ago="" if latest_at is None else words.ago(latest_at, now),
        latest_at=latest_at,
        best=" / ".join(best) or words.UNKNOWN,
        energy=words.UNKNOWN if energy is None else energy.text(words.energy.saved(energy.saved)),
        cost=words.UNKNOWN if cost is None else cost.text(words.saved_percent(cost.percent)),
        cost_saved_percent=None if cost is None or cost.is_open else cost.percent,
    )
