"""The page of a job."""

from fastapi import Response
from pydantic import TypeAdapter, ValidationError

from rheostat import service as use_cases
from rheostat.dashboard.pages.control import DONE_COOKIE, without_done
from rheostat.dashboard.sharing import PROOF_HERE
from rheostat.dashboard.views.control import DONE, active_orders
from rheostat.dashboard.views.job import job_view, shown_gpu
from rheostat.dashboard.views.log import Entry, decision_log
from rheostat.dashboard.visit import Visit
from rheostat.schemas.tags import TagQuery
from rheostat.service import Service, review

MOST_TRIALS = 500
"""So many of the latest trials are drawn: one a pixel."""

ENTRIES_IN_LOG = 25

MOST_WITH_TAG = 100


def job(visit: Visit) -> Response:
    """Show what a job learned and saved, and why it trains as it does."""
    service, job_id = visit.service, visit.request.path_params["job_id"]
    summary = review.job_summary(service, job_id)
    trials = use_cases.list_trials(service, job_id, state=None, cursor=None, limit=MOST_TRIALS).trials
    curves, predicted = review.power_curves(service, job_id), review.calibration(service, job_id)
    at = visit.number("placement")
    gpu = shown_gpu(summary, trials, at)
    view = job_view(
        summary,
        trials,
        curves,
        visit.site,
        service.now(),
        predicted=predicted,
        placement=at,
        upcoming=None if gpu is None else review.next_run(service, job_id, gpu),
    )
    tag = visit.text("tag").strip()
    found = _runs_with_tag(service, job_id, tag) if tag else view.log[:ENTRIES_IN_LOG]
    page = visit.show(
        "job.html",
        refresh_seconds=5 if view.running else 30,
        view=view,
        now=service.now(),
        trials=summary.job.trials,
        drawn=len(trials),
        log=found or [],
        tag=tag,
        tag_is_wrong=found is None,
        placement=next((one.index for one in view.placements if one.is_shown), None),
        eta_knob=summary.job.settings.eta_knob,
        orders=active_orders(summary.job, service.now()),
        done=DONE.get(visit.request.cookies.get(DONE_COOKIE, "")),
        proof=PROOF_HERE if visit.is_operator else None,
        batch_sizes=summary.job.settings.batch_sizes,
        selected=view.latest.batch_size if view.latest else summary.job.settings.default_batch_size,
    )
    return without_done(visit.request, page)


def job_state(visit: Visit) -> int | None:
    """Return what changes with the page of a job; None: there is no such job, or what was done is said once."""
    if DONE_COOKIE in visit.request.cookies:
        return None
    return review.job_version(visit.service, visit.service.job(visit.request.path_params["job_id"]))


def _runs_with_tag(service: Service, job_id: str, tag: str) -> list[Entry] | None:
    """Return the latest runs with a tag, on any GPU; None: what is asked for is no tag."""
    try:
        wanted: str = TypeAdapter(TagQuery).validate_python(tag)
    except ValidationError:
        return None
    page = use_cases.list_trials(service, job_id, state=None, cursor=None, limit=MOST_WITH_TAG, tag=wanted)
    return decision_log(page.trials, service.now())
