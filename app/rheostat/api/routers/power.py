"""Routes of power limits, and of surveys."""

from fastapi import APIRouter, Request

from rheostat import service as use_cases
from rheostat.api.dependencies import IdempotencyKeyHeader, JobIdPath, TrainerService, answer_of
from rheostat.api.problems import responses
from rheostat.api.routing import JsonRoute
from rheostat.schemas.power import (
    ObservePowerLimitRequest,
    PowerLimitAnswer,
    PredictPowerLimitRequest,
    SurveyAnswer,
    SurveyRequest,
)

router = APIRouter(route_class=JsonRoute, prefix="/v1/jobs/{job_id}", tags=["power limits"])


@router.post("/power/predict", responses=responses(404, 409))
def predict_power_limit(
    service: TrainerService, job_id: JobIdPath, request: PredictPowerLimitRequest
) -> PowerLimitAnswer:
    """Ask for the best power limit of a batch size, or what to measure first."""
    return use_cases.predict_power_limit(service, job_id, request)


@router.post("/power/observe", responses=responses(404, 409))
async def observe_power_limit(
    request: Request,
    service: TrainerService,
    job_id: JobIdPath,
    report: ObservePowerLimitRequest,
    idempotency_key: IdempotencyKeyHeader = None,
) -> PowerLimitAnswer:
    """Report measured power limits; the answer is the best one, or what to measure next."""
    return await answer_of(request, use_cases.observe_power_limit(service, job_id, report, idempotency_key))


@router.post("/survey", responses=responses(404, 409))
async def survey(
    request: Request,
    service: TrainerService,
    job_id: JobIdPath,
    wanted: SurveyRequest,
    idempotency_key: IdempotencyKeyHeader = None,
) -> SurveyAnswer:
    """Ask what is worth measuring before a run, in slices of training at several batch sizes.

    The key is that of the run, if it has one: where its trial goes on, nothing is.
    """
    return await answer_of(request, use_cases.survey(service, job_id, wanted, idempotency_key))
