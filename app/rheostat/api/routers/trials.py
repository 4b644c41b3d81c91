"""Routes of trials and whole runs."""

from typing import Annotated

from fastapi import APIRouter, Query, status

from rheostat import service as use_cases
from rheostat.api.dependencies import (
    IdempotencyKeyHeader,
    JobIdPath,
    Limit,
    ReaderService,
    TheDesk,
    TrainerService,
    TrialIdPath,
)
from rheostat.api.problems import responses
from rheostat.schemas.server import (
    HeartbeatAnswer,
    ObserveAnswer,
    ObserveRequest,
    ObserveRunAnswer,
    ObserveRunRequest,
    PredictRequest,
    Trial,
    TrialDetail,
    TrialPage,
    TrialState,
)

router = APIRouter(prefix="/v1", tags=["trials"])


@router.post("/jobs/{job_id}/predict", status_code=status.HTTP_201_CREATED, responses=responses(404, 409))
async def predict(
    service: TrainerService,
    desk: TheDesk,
    job_id: JobIdPath,
    request: PredictRequest,
    idempotency_key: IdempotencyKeyHeader = None,
) -> Trial:
    """Start a trial: what batch size and power limit to train with."""
    return await desk.ask(use_cases.to_predict(service, job_id, request, idempotency_key))


@router.post("/trials/{trial_id}/observe", responses=responses(404, 409))
async def observe(
    service: TrainerService, desk: TheDesk, trial_id: TrialIdPath, request: ObserveRequest
) -> ObserveAnswer:
    """Report an evaluation, or the end of a run; the answer says whether to go on."""
    return await desk.ask(use_cases.to_observe(service, trial_id, request))


@router.post("/trials/{trial_id}/heartbeat", responses=responses(404))
async def heartbeat(service: TrainerService, desk: TheDesk, trial_id: TrialIdPath) -> HeartbeatAnswer:
    """Keep a trial's lease during a long epoch."""
    return await desk.ask(use_cases.to_heartbeat(service, trial_id))


@router.get("/trials/{trial_id}", responses=responses(404))
def get_trial(service: ReaderService, trial_id: TrialIdPath) -> TrialDetail:
    """Show a trial."""
    return use_cases.get_trial(service, trial_id)


@router.get("/jobs/{job_id}/trials", responses=responses(404))
def list_trials(
    service: ReaderService,
    job_id: JobIdPath,
    state: Annotated[TrialState | None, Query(description="Only trials in this state.")] = None,
    limit: Limit = 50,
    cursor: Annotated[int | None, Query(ge=1, le=2**63 - 1, description="`next_cursor` of the page before.")] = None,
) -> TrialPage:
    """List a job's trials, newest first."""
    return use_cases.list_trials(service, job_id, state=state, cursor=cursor, limit=limit)


@router.post("/jobs/{job_id}/observe", status_code=status.HTTP_201_CREATED, responses=responses(404, 409))
def observe_run(
    service: TrainerService,
    job_id: JobIdPath,
    request: ObserveRunRequest,
    idempotency_key: IdempotencyKeyHeader = None,
) -> ObserveRunAnswer:
    """Report a whole run that no `predict` started: history, or another launcher's."""
    return use_cases.observe_run(service, job_id, request, idempotency_key)
