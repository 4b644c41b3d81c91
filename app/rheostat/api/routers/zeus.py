"""Routes of Zeus's batch size optimizer server, for trainers that talk to it already."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status

from rheostat import service as our_use_cases
from rheostat.api.authentication import authorise
from rheostat.api.dependencies import AdminService, TrainerService, answer_of
from rheostat.api.paths import ZEUS_PREFIX
from rheostat.api.problems import zeus_responses
from rheostat.api.routing import JsonRoute
from rheostat.schemas.fields import JobId, Name
from rheostat.schemas.server import JobUpdate
from rheostat.schemas.zeus import ZeusJob, ZeusReport, ZeusTrial, ZeusVerdict
from rheostat.service import zeus as use_cases


class ZeusRoute(JsonRoute):
    """A route that takes a body without a Content-Type, as the peer's client sends it."""

    needs_content_type = False


router = APIRouter(route_class=ZeusRoute, prefix=ZEUS_PREFIX, tags=["zeus"])
JobIdQuery = Annotated[JobId, Query(description="Identifier of the recurring job.")]


@router.post(
    "/jobs",
    status_code=status.HTTP_201_CREATED,
    responses={
        200: {"description": "Registered before, with the same settings.", "model": ZeusJob},
        **zeus_responses(409),
    },
)
async def zeus_register_job(
    request: Request,
    service: TrainerService,
    job: ZeusJob,
    response: Response,
    policy: Annotated[Name | None, Query(description="Another policy than `zeus`; a registered job gets it.")] = None,
) -> ZeusJob:
    """Register a job, or find it registered with the same settings."""
    registered = await answer_of(request, use_cases.register_job(service, job, policy))
    if not registered.is_new:
        response.status_code = status.HTTP_200_OK
    if policy not in (None, registered.policy):
        admin = authorise(request.scope, "admin")
        await answer_of(request, our_use_cases.update_job(admin, registered.job.job_id or "", JobUpdate(policy=policy)))
    return registered.job


@router.get("/jobs/batch_size", responses=zeus_responses(404, 409))
async def zeus_predict(request: Request, service: TrainerService, job_id: JobIdQuery) -> ZeusTrial:
    """Begin a trial: what batch size to train with."""
    return await answer_of(request, use_cases.predict(service, job_id))


@router.post("/report", responses=zeus_responses(404))
async def zeus_report(request: Request, service: TrainerService, report: ZeusReport) -> ZeusVerdict:
    """Report an evaluation; the answer says whether to go on."""
    return await answer_of(request, use_cases.report(service, report))


@router.patch("/trials", responses=zeus_responses(404))
async def zeus_end_trial(request: Request, service: TrainerService, trial: ZeusTrial) -> None:
    """End a trial; one without a result teaches nothing."""
    await answer_of(request, use_cases.end_trial(service, trial))


@router.delete("/jobs", responses=zeus_responses(404))
async def zeus_delete_job(request: Request, service: AdminService, job_id: JobIdQuery) -> None:
    """Delete a job with all that was learned from it, also while trials run."""
    await answer_of(request, our_use_cases.delete_job(service, job_id, force=True))
