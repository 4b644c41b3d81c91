"""Routes of power limits."""

from fastapi import APIRouter

from rheostat import service as use_cases
from rheostat.api.dependencies import JobIdPath, TrainerService
from rheostat.api.problems import responses
from rheostat.schemas.server import ObservePowerLimitRequest, PowerLimitAnswer, PredictPowerLimitRequest

router = APIRouter(prefix="/v1/jobs/{job_id}/power", tags=["power limits"])


@router.post("/predict", responses=responses(404, 409))
def predict_power_limit(
    service: TrainerService, job_id: JobIdPath, request: PredictPowerLimitRequest
) -> PowerLimitAnswer:
    """Ask for the best power limit of a batch size, or what to measure first."""
    return use_cases.predict_power_limit(service, job_id, request)


@router.post("/observe", responses=responses(404, 409))
def observe_power_limit(
    service: TrainerService, job_id: JobIdPath, request: ObservePowerLimitRequest
) -> PowerLimitAnswer:
    """Report measured power limits; the answer is the best one, or what to measure next."""
    return use_cases.observe_power_limit(service, job_id, request)
