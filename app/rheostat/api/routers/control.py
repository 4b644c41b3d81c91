"""Routes of an operator's control of a job."""

from fastapi import APIRouter, Request

from rheostat import service as use_cases
from rheostat.api.dependencies import AdminService, JobIdPath, answer_of
from rheostat.api.problems import responses
from rheostat.api.routing import JsonRoute
from rheostat.schemas.control import OrderRequest, PauseRequest
from rheostat.schemas.server import JobDetail

router = APIRouter(route_class=JsonRoute, prefix="/v1/jobs/{job_id}", tags=["control"])


@router.post("/pin", responses=responses(404, 409))
async def pin_job(request: Request, service: AdminService, job_id: JobIdPath, order: OrderRequest) -> JobDetail:
    """Let every trial train with a batch size, and under a power limit, until it is unpinned."""
    return await answer_of(request, use_cases.pin_job(service, job_id, order))


@router.delete("/pin", responses=responses(404))
async def unpin_job(request: Request, service: AdminService, job_id: JobIdPath) -> JobDetail:
    """Leave the choice to the policy again."""
    return await answer_of(request, use_cases.unpin_job(service, job_id))


@router.post("/pause", responses=responses(404))
async def pause_job(request: Request, service: AdminService, job_id: JobIdPath, pause: PauseRequest) -> JobDetail:
    """Pause exploring: trials run the best known batch size under the best known power limit."""
    return await answer_of(request, use_cases.pause_job(service, job_id, pause))


@router.delete("/pause", responses=responses(404))
async def resume_job(request: Request, service: AdminService, job_id: JobIdPath) -> JobDetail:
    """Let the policy explore again."""
    return await answer_of(request, use_cases.resume_job(service, job_id))


@router.post("/force", responses=responses(404, 409))
async def force_job(request: Request, service: AdminService, job_id: JobIdPath, order: OrderRequest) -> JobDetail:
    """Let the next trial that it fits train with a batch size, and under a power limit, once."""
    return await answer_of(request, use_cases.force_job(service, job_id, order))


@router.delete("/force", responses=responses(404))
async def unforce_job(request: Request, service: AdminService, job_id: JobIdPath) -> JobDetail:
    """Withdraw a forced trial that has not started yet."""
    return await answer_of(request, use_cases.unforce_job(service, job_id))
