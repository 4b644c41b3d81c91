"""Power limits: what to train under, and what was measured; and surveys."""

from concurrent.futures import Future

from rheostat.domain import power, surveys
from rheostat.domain.job import Decision
from rheostat.schemas.power import (
    ObservePowerLimitRequest,
    PowerLimitAnswer,
    PredictPowerLimitRequest,
    SurveyAnswer,
    SurveyRequest,
)
from rheostat.service.context import Service


def predict_power_limit(service: Service, job_id: str, request: PredictPowerLimitRequest) -> PowerLimitAnswer:
    """Return the best power limit of a batch size; see :func:`rheostat.domain.power.predict_power_limit`.

    Raises:
        JobNotFound: There is no such job.
    """
    return service.jobs.read(service.job(job_id), lambda job, _: power.predict_power_limit(job, request))


def observe_power_limit(
    service: Service, job_id: str, request: ObservePowerLimitRequest, idempotency_key: str | None
) -> Future[Decision[PowerLimitAnswer]]:
    """Learn what some power limits cost; see :func:`rheostat.domain.power.observe_power_limit`.

    Raises:
        JobNotFound: There is no such job.
    """
    return service.change(
        service.job(job_id),
        lambda job, history: power.observe_power_limit(
            job, history, request, idempotency_key=idempotency_key, now=service.now()
        ),
        repeat=idempotency_key and ("observe_power_limit", idempotency_key),
    )


def survey(
    service: Service, job_id: str, request: SurveyRequest, idempotency_key: str | None
) -> Future[Decision[SurveyAnswer]]:
    """Return what is worth measuring before a run; see :func:`rheostat.domain.surveys.survey`.

    Raises:
        JobNotFound: There is no such job.
    """
    return service.change(
        service.job(job_id),
        lambda job, history: surveys.survey(job, history, request, service.now(), idempotency_key),
        repeat=("survey", request.gpu),
    )
