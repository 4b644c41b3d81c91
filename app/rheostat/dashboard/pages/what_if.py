"""What would be best at another eta_knob: a page of its own, of which the job's page takes over the answer."""

from fastapi import Response

from rheostat import service as use_cases
from rheostat.dashboard.views.what_if import what_if as what_if_view
from rheostat.dashboard.visit import Visit
from rheostat.errors import InvalidInput, NotFound

MOST_TRIALS = 200
"""So many of the latest converged trials are averaged."""


def what_if(visit: Visit) -> Response:
    """Show what would be best if energy weighed otherwise against time."""
    service, job_id = visit.service, visit.request.path_params["job_id"]
    eta_knob = _share(visit.text("eta_knob"))
    job = use_cases.get_job(service, job_id)
    today = use_cases.estimates(service, job_id).placements
    then = use_cases.estimates(service, job_id, eta_knob=eta_knob).placements
    at = visit.number("placement") or 0
    if at >= min(len(today), len(then)):
        raise NotFound(f"{job_id} has not run on such a GPU.")
    trials = use_cases.list_trials(service, job_id, state="converged", cursor=None, limit=MOST_TRIALS).trials
    return visit.show(
        "what_if.html",
        job_id=job_id,
        eta_knob=eta_knob,
        placement=at,
        view=what_if_view(eta_knob, today[at], then[at], trials, job.settings.default_batch_size),
    )


def _share(text: str) -> float:
    """Return an eta_knob as it was asked for.

    Raises:
        InvalidInput: It is none.
    """
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise InvalidInput("eta_knob is a number from 0 to 1.", hint="1 is energy alone, 0 time alone.")
    return share
