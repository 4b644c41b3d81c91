"""Routes of trials and whole runs."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, status

from rheostat import service as use_cases
from rheostat.api.dependencies import (
    IdempotencyKeyHeader,
    JobIdPath,
    Limit,
    ReaderService,
    TrainerService,
    TrialIdPath,
    answer_of,
)
from rheostat.api.problems import responses
from rheostat.api.routing import JsonRoute
from rheostat.schemas.fields import TrialState
from rheostat.schemas.nodes import HeartbeatRequest
from rheostat.schemas.tags import TagQuery
from rheostat.schemas.trials import (
    HeartbeatAnswer,
    ObserveAnswer,
    ObserveRequest,
    ObserveRunAnswer,
    ObserveRunRequest,
    PredictRequest,
    Trial,
    TrialDetail,
    TrialPage,
)

router = APIRouter(route_class=JsonRoute, prefix="/v1", tags=["trials"])


@router.post("/jobs/{job_id}/predict", status_code=status.HTTP_201_CREATED, responses=responses(404, 409))
async def predict(
    request: Request,
    service: TrainerService,
    job_id: JobIdPath,
    wanted: PredictRequest,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Trial:
    """Start a trial: what batch size and power limit to train with."""
    return await answer_of(request, use_cases.predict(service, job_id, wanted, idempotency_key))


@router.post("/trials/{trial_id}/observe", responses=responses(404, 409))
async def observe(
    request: Request, service: TrainerService, trial_id: TrialIdPath, report: ObserveRequest
) -> ObserveAnswer:
    """Report an evaluation, or the end of a run; the answer says whether to go on."""
    return await answer_of(request, use_cases.observe(service, trial_id, report))


@router.post("/trials/{trial_id}/heartbeat", responses=responses(404))
async def heartbeat(
    request: Request, service: TrainerService, trial_id: TrialIdPath, beat: HeartbeatRequest | None = None
) -> HeartbeatAnswer:
    """Keep a trial's lease during a long epoch; the body may say what has changed on its nodes."""
    return await answer_of(request, use_cases.heartbeat(service, trial_id, beat))


@router.get("/trials/{trial_id}", responses=responses(404))
def get_trial(service: ReaderService, trial_id: TrialIdPath) -> TrialDetail:
    """Show a trial."""
    return use_cases.get_trial(service, trial_id)


@router.get("/jobs/{job_id}/trials", responses=responses(404))
def list_trials(
    service: ReaderService,
    job_id: JobIdPath,
    *,
    state: Annotated[TrialState | None, Query(description="Only trials in this state.")] = None,
    tag: Annotated[
        TagQuery | None, Query(description="Only trials with this tag: key=value, or a key for any value.")
    ] = None,
    limit: Limit = 50,
    cursor: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next_cursor` of the page before.")] = None,
) -> TrialPage:
    """List a job's trials, newest first."""
    return use_cases.list_trials(service, job_id, state=state, cursor=cursor, limit=limit, tag=tag)


@router.post("/jobs/{job_id}/observe", status_code=status.HTTP_201_CREATED, responses=responses(404, 409))
async def observe_run(
    request: Request,
    service: TrainerService,
    job_id: JobIdPath,
    report: ObserveRunRequest,
    idempotency_key: IdempotencyKeyHeader = None,
) -> ObserveRunAnswer:
    """Report a whole run that no `predict` started: history, or another launcher's."""
    return await answer_of(request, use_cases.observe_run(service, job_id, report, idempotency_key))
