"""The home page."""

from collections.abc import Sequence
from dataclasses import dataclass
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

WORTH_SAYING_SECONDS = 15
"""A page says how old its figures are from here on: changed jobs are read again every few seconds."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which jobs a visit asks for."""

    search: str
    page: int

    @classmethod
    def by(cls, visit: Visit) -> "_Asked":
        return cls(visit.text("search").strip(), max(1, visit.number("page") or 1))

    def matching(self, job_ids: Sequence[str]) -> list[str]:
        return [job_id for job_id in job_ids if self.search.lower() in job_id.lower()]

    def shown(self, job_ids: Sequence[str]) -> list[str]:
        return self.matching(job_ids)[(self.page - 1) * JOBS_ON_A_PAGE : self.page * JOBS_ON_A_PAGE]


def home_state(visit: Visit) -> tuple[int, int] | None:
    """Return what changes with the home page; None: not all jobs are read yet."""
    summaries = visit.surroundings.summaries
    overview = _overview(visit)
    age_seconds = summaries.age_seconds(overview)
    return None if overview.missing else (overview.number, int(age_seconds // WORTH_SAYING_SECONDS))


def home(visit: Visit) -> Response:
    """Show what was saved, what wants attention, what runs, and the jobs."""
    service, now, summaries = visit.service, visit.service.now(), visit.surroundings.summaries
    asked = _Asked.by(visit)
    overview = _overview(visit)
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
        age=age if (age := summaries.age_seconds(overview)) >= WORTH_SAYING_SECONDS else None,
        rows=[_row(overview, job_id, now) for job_id in asked.shown(overview.job_ids)],
        search=asked.search,
        page=asked.page,
        pages=max(1, -(-len(asked.matching(overview.job_ids)) // JOBS_ON_A_PAGE)),
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


def _overview(visit: Visit) -> Overview:
    """Return the jobs: the same for the state of a page and for the page, since a visit reads what changed once."""
    found = getattr(visit.request.state, "overview", None)
    if not isinstance(found, Overview):
        found = visit.surroundings.summaries.overview(visit.service, _Asked.by(visit).shown)
        visit.request.state.overview = found
    return found


def _row(overview: Overview, job_id: str, now: datetime) -> tuple[str, JobRow | None, str]:
    """Return a job's name, its line, and why it has none."""
    summary = overview.summaries.get(job_id)
    if summary is not None:
        return job_id, job_row(summary, now), ""
    unreadable = overview.unreadable.get(job_id)
    return job_id, None, "…" if unreadable is None else f"Not shown: {unreadable.reason}"
