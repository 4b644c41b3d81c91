"""Routes for looking back: what power limits cost, what was predicted, what a trial reported, and what a job saved."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from rheostat.api.dependencies import JobIdPath, Limit, ReaderService, TrialIdPath
from rheostat.api.problems import responses
from rheostat.api.routing import JsonRoute
from rheostat.api.waiting import read_within
from rheostat.schemas.calibration import Calibration
from rheostat.schemas.fields import Day, JobId
from rheostat.schemas.report import JobReport, ReportPage
from rheostat.schemas.review import ObservationPage, PowerCurves
from rheostat.service import review

Since = Annotated[Day | None, Query(description="First day (UTC) whose runs count; left out: all do.")]

router = APIRouter(route_class=JsonRoute, prefix="/v1", tags=["review"])


@router.get("/jobs/{job_id}/power", responses=responses(404))
def power_curves(service: ReaderService, job_id: JobIdPath) -> PowerCurves:
    """Show what each measured power limit costs per epoch."""
    return review.power_curves(service, job_id)


@router.get("/jobs/{job_id}/calibration", responses=responses(404))
def calibration(service: ReaderService, job_id: JobIdPath) -> Calibration:
    """Show how well the costs of a job's latest trials were predicted when they began."""
    return review.calibration(service, job_id)


@router.get("/jobs/{job_id}/report", responses=responses(404))
def job_report(service: ReaderService, job_id: JobIdPath, since: Since = None) -> JobReport:
    """Show what a job saved, how sure that is, and where the figures come from."""
    return review.job_report(service, job_id, since=since)


@router.get(
    "/jobs/{job_id}/trials.csv",
    responses=responses(404)
    | {200: {"description": "A line for each trial, newest first.", "content": {"text/csv": {}}}},
    response_class=Response,
)
async def trials_csv(request: Request, service: ReaderService, job_id: JobIdPath) -> Response:
    """Export a job's trials as CSV; the connection breaks where the database fails before the last one."""
    seconds = request.app.state.request_timeout_seconds
    text, cursor = await read_within(seconds, partial(review.page_of_trials_csv, service, job_id, None))

    async def pages() -> AsyncIterator[str]:
        page, after = text, cursor
        while True:
            yield page
            if after is None:
                return
            page, after = await read_within(seconds, partial(review.page_of_trials_csv, service, job_id, after))

    name = {"Content-Disposition": f'attachment; filename="{job_id}-trials.csv"'}
    return StreamingResponse(pages(), headers=name, media_type="text/csv")


@router.get("/reports", responses=responses())
def list_reports(
    service: ReaderService,
    since: Since = None,
    limit: Limit = 50,
    cursor: Annotated[JobId | None, Query(description="`next_cursor` of the page before.")] = None,
) -> ReportPage:
    """Show what each job saved, in alphabetical order."""
    return review.list_reports(service, since=since, cursor=cursor, limit=limit)


@router.get("/trials/{trial_id}/observations", responses=responses(404))
def list_observations(
    service: ReaderService,
    trial_id: TrialIdPath,
    limit: Limit = 50,
    cursor: Annotated[int | None, Query(ge=0, le=2**63 - 1, description="`next_cursor` of the page before.")] = None,
) -> ObservationPage:
    """List a trial's reports in the order of their epochs."""
    return review.list_observations(service, trial_id, cursor=cursor, limit=limit)
