"""Power limits: what to train under, and what was measured."""

from rheostat.errors import Conflict, FieldError, InvalidInput
from rheostat.policy.interface import Job
from rheostat.schemas.server import (
    ObservePowerLimitRequest,
    PowerLimitAnswer,
    PowerLimitMeasurement,
    PredictPowerLimitRequest,
)
from rheostat.service.context import Service
from rheostat.service.fold import learn
from rheostat.service.jobs import require
from rheostat.service.open_job import OpenJob, power_limits
from rheostat.storage.engine import Transaction
from rheostat.storage.evidence import PowerMeasurements
from rheostat.storage.jobs import Jobs
from rheostat.storage.records import PowerMeasurementRecord


def predict_power_limit(service: Service, job_id: str, request: PredictPowerLimitRequest) -> PowerLimitAnswer:
    """Return the best power limit for a batch size, or what to measure first.

    Raises:
        JobNotFound: There is no such job.
        UnknownBatchSize: The batch size is not among those of the job.
        NoPowerLimitFits: None of the job's power limits lies in the GPU's range.
        PolicyFailed: The policy raised.
    """

    def work(connection: Transaction) -> PowerLimitAnswer:
        job = OpenJob(connection, require(Jobs(connection).find(service.namespace, job_id), job_id))
        job.check_batch_size(request.batch_size)
        placement = job.find(request.gpu)
        if placement is None:
            limits = power_limits(job.settings, request.gpu)
            return PowerLimitAnswer(power_limit_watts=None, profile_power_limits_watts=list(limits))
        return _advice(job, job.view(placement, request.gpu), request.batch_size)

    return service.database.read(work)


def observe_power_limit(service: Service, job_id: str, request: ObservePowerLimitRequest) -> PowerLimitAnswer:
    """Learn what some power limits cost, and answer as :func:`predict_power_limit` does.

    Raises:
        JobNotFound: There is no such job.
        UnknownBatchSize: The batch size is not among those of the job.
        NoPowerLimitFits: None of the job's power limits lies in the GPU's range.
        InvalidInput: A measured limit lies outside of the GPU's range.
        Conflict: Some measurements of the batch size are of an epoch and others of a step.
        PolicyFailed: The policy raised.
    """

    def work(connection: Transaction) -> PowerLimitAnswer:
        job = OpenJob(connection, require(Jobs(connection).find(service.namespace, job_id, lock=True), job_id))
        job.check_batch_size(request.batch_size)
        _check_limits(request)
        placement = job.enter(request.gpu)
        measurements = PowerMeasurements(connection)
        _check_unit(request, measurements.latest(placement.placement_pk, request.batch_size))
        now = service.now()
        records = [
            PowerMeasurementRecord(
                placement_pk=placement.placement_pk,
                batch_size=request.batch_size,
                **measurement.model_dump(),
                sequence=job.take_sequence(),
                received_at=now,
            )
            for measurement in request.measurements
        ]
        measurements.add(records)
        for record in records:
            learn(job, placement, record)
        return _advice(job, job.view(placement, request.gpu), request.batch_size)

    return service.database.write(work)


def _advice(job: OpenJob, view: Job, batch_size: int) -> PowerLimitAnswer:
    advice = job.advisor.power(view, batch_size)
    return PowerLimitAnswer(
        power_limit_watts=advice.power_limit_watts,
        profile_power_limits_watts=list(advice.profile_power_limits_watts),
    )


def _check_limits(request: ObservePowerLimitRequest) -> None:
    lowest, highest = request.gpu.min_power_limit_watts, request.gpu.max_power_limit_watts
    fields = [
        FieldError(f"measurements.{at}.power_limit_watts", f"must lie in the GPU's range, {lowest} to {highest}")
        for at, measurement in enumerate(request.measurements)
        if not lowest <= measurement.power_limit_watts <= highest
    ]
    if fields:
        raise InvalidInput("A measured power limit lies outside of the GPU's range.", fields=fields)


def _is_of_an_epoch(measurement: PowerLimitMeasurement | PowerMeasurementRecord) -> bool:
    return measurement.cost is not None or measurement.steps_per_epoch is not None


def _check_unit(request: ObservePowerLimitRequest, earlier: PowerMeasurementRecord | None) -> None:
    units = {_is_of_an_epoch(measurement) for measurement in request.measurements}
    if earlier is not None:
        units.add(_is_of_an_epoch(earlier))
    if len(units) > 1:
        raise Conflict(
            f"Some measurements of batch size {request.batch_size} tell the cost of an epoch and others, without "
            "steps_per_epoch, of a step: they cannot be compared.",
            hint="Send steps_per_epoch with all measurements of a batch size, or with none.",
            fields=[FieldError("measurements", "steps_per_epoch must be given for all or for none")],
        )
