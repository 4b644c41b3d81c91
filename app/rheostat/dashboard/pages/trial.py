"""The page of a trial."""

from fastapi import Response

from rheostat import service as use_cases
from rheostat.dashboard.views.arms import recommendation
from rheostat.dashboard.views.trial import Comparison, Reports, trial_view
from rheostat.dashboard.visit import Visit
from rheostat.errors import PolicyFailed
from rheostat.schemas.trials import TrialDetail
from rheostat.service import Service, review

MOST_REPORTS = 1000
"""So many are drawn, or a few more: a figure is no wider in pixels."""

REPORTS_IN_TABLE = 200
RUNS_TO_SEARCH = 50


def trial(visit: Visit) -> Response:
    """Show a run report by report, against a converged run of the best known batch size."""
    service = visit.service
    shown = use_cases.get_trial(service, visit.request.path_params["trial_id"])
    job = use_cases.get_job(service, shown.job_id)
    drawn, total = review.thinned_observations(service, shown.trial_id, most=MOST_REPORTS)
    before = max(0, total - REPORTS_IN_TABLE)
    listed = review.list_observations(service, shown.trial_id, cursor=before, limit=REPORTS_IN_TABLE).observations
    reports = Reports(drawn, listed, total)
    return visit.show(
        "trial.html",
        refresh_seconds=3 if shown.state == "running" else None,
        view=trial_view(shown, job, reports, _comparison(service, shown), site=visit.site, now=service.now()),
    )


def trial_state(visit: Visit) -> int | None:
    """Return what changes with the page of a trial, as all of its job does; None: there is no such trial."""
    return review.job_version(visit.service, visit.service.trial(visit.request.path_params["trial_id"]))


def _comparison(service: Service, shown: TrialDetail) -> Comparison | None:
    """Return the latest other converged run of the best known batch size on the same GPUs."""
    try:
        placements = use_cases.estimates(service, shown.job_id).placements
    except PolicyFailed:
        return None
    here = [placement for placement in placements if placement.gpu.is_placed_with(shown.gpu)]
    best = recommendation(here[0]) if here else None
    if best is None:
        return None
    page = use_cases.list_trials(service, shown.job_id, state="converged", cursor=None, limit=RUNS_TO_SEARCH)
    for other in page.trials:
        if (
            other.batch_size == best.batch_size
            and other.trial_id != shown.trial_id
            and other.gpu.is_placed_with(shown.gpu)
        ):
            return Comparison(other, review.thinned_observations(service, other.trial_id, most=MOST_REPORTS)[0])
    return None
