"""Routes of jobs."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status

from rheostat import service as use_cases
from rheostat.api.dependencies import AdminService, JobIdPath, Limit, ReaderService, TrainerService, answer_of
from rheostat.api.problems import responses
from rheostat.api.routing import JsonRoute
from rheostat.schemas.fields import EtaKnob, JobId
from rheostat.schemas.insight import Estimates, Savings
from rheostat.schemas.server import JobDetail, JobPage, JobSettings, JobUpdate

router = APIRouter(route_class=JsonRoute, prefix="/v1/jobs", tags=["jobs"])


@router.put(
    "/{job_id}",
    status_code=status.HTTP_201_CREATED,
    responses={
        200: {"description": "Registered before, with the same settings.", "model": JobDetail},
        **responses(409),
    },
)
async def register_job(
    request: Request, service: TrainerService, job_id: JobIdPath, settings: JobSettings, response: Response
) -> JobDetail:
    """Register a recurring job, or find it registered with the same settings."""
    job, is_new = await answer_of(request, use_cases.register_job(service, job_id, settings))
    if not is_new:
        response.status_code = status.HTTP_200_OK
    return job


@router.patch("/{job_id}", responses=responses(404))
async def update_job(request: Request, service: AdminService, job_id: JobIdPath, update: JobUpdate) -> JobDetail:
    """Change the knobs of a job; past runs are priced and weighed again."""
    late = "Past runs are still being weighed again; the change is made when that is done."
    return await answer_of(request, use_cases.update_job(service, job_id, update), late=late)


@router.get("", responses=responses())
def list_jobs(
    service: ReaderService,
    limit: Limit = 50,
    cursor: Annotated[JobId | None, Query(description="`next_cursor` of the page before.")] = None,
) -> JobPage:
    """List the jobs in alphabetical order."""
    return use_cases.list_jobs(service, cursor=cursor, limit=limit)


@router.get("/{job_id}", responses=responses(404))
def get_job(service: ReaderService, job_id: JobIdPath) -> JobDetail:
    """Show a job."""
    return use_cases.get_job(service, job_id)


@router.delete("/{job_id}", status_code=status.HTTP_204_NO_CONTENT, responses=responses(404, 409))
async def delete_job(
    request: Request,
    service: AdminService,
    job_id: JobIdPath,
    force: Annotated[bool, Query(description="Also while trials run.")] = False,
) -> None:
    """Delete a job with all that was learned from it."""
    await answer_of(request, use_cases.delete_job(service, job_id, force=force))


@router.get("/{job_id}/estimates", responses=responses(404, 409))
def estimates(
    service: ReaderService,
    job_id: JobIdPath,
    eta_knob: Annotated[
        EtaKnob | None, Query(description="As if the job's knob were this: its past runs are priced with it.")
    ] = None,
) -> Estimates:
    """Show what the policy believes of every batch size."""
    return use_cases.estimates(service, job_id, eta_knob=eta_knob)


@router.get("/{job_id}/savings", responses=responses(404))
def savings(service: ReaderService, job_id: JobIdPath) -> Savings:
    """Show what was saved against always running the default at the maximum power limit."""
    return use_cases.savings(service, job_id)
