"""The home page."""

from collections.abc import Sequence
from datetime import datetime

from fastapi import Response

from rheostat.dashboard.summaries import Overview
from rheostat.dashboard.views.home import JobRow, job_row
from rheostat.dashboard.views.home import home as home_view
from rheostat.dashboard.visit import Visit
from rheostat.dashboard.words import ago, duration, energy, gpu
from rheostat.service import review

JOBS_ON_A_PAGE = 50
MOST_RUNNING = 50


def home(visit: Visit) -> Response:
    """Show what was saved, what wants attention, what runs, and the jobs."""
    service, now = visit.service, visit.service.now()
    search, page = visit.text("search").strip(), max(1, visit.number("page") or 1)
    first = (page - 1) * JOBS_ON_A_PAGE

    def matching(job_ids: Sequence[str]) -> list[str]:
        return [job_id for job_id in job_ids if search.lower() in job_id.lower()]

    summaries = visit.surroundings.summaries
    overview = summaries.overview(service, lambda job_ids: matching(job_ids)[first : first + JOBS_ON_A_PAGE])
    matches = matching(overview.job_ids)
    running = review.running_trials(service, limit=MOST_RUNNING)
    return visit.show(
        "home.html",
        refresh_seconds=1 if overview.missing else 5 if running else 30,
        view=summaries.derived(
            service.namespace,
            overview,
            lambda: home_view(
                [*overview.summaries.values()], [*overview.unreadable.values()], overview.saved_joules, visit.site
            ),
        ),
        overview=overview,
        now=now,
        jobs=len(overview.job_ids),
        age=summaries.age_seconds(overview),
        rows=[_row(overview, job_id, now) for job_id in matches[first : first + JOBS_ON_A_PAGE]],
        search=search,
        page=page,
        pages=max(1, -(-len(matches) // JOBS_ON_A_PAGE)),
        running=[
            {
                "trial": trial,
                "gpu": gpu(trial.gpu_model, trial.gpu_count),
                "since": ago(trial.created_at, now),
                "energy": energy(trial.energy_joules),
                "time": duration(trial.time_seconds),
            }
            for trial in running
        ],
    )


def _row(overview: Overview, job_id: str, now: datetime) -> tuple[str, JobRow | None, str]:
    """Return a job's name, its line, and why it has none."""
    summary = overview.summaries.get(job_id)
    if summary is not None:
        return job_id, job_row(summary, now), ""
    unreadable = overview.unreadable.get(job_id)
    return job_id, None, "…" if unreadable is None else f"Not shown: {unreadable.reason}"
