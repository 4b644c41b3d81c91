"""How the wire shows what is recorded of a job: its measured power limits and its trials' reports."""

from collections.abc import Mapping, Sequence

from rheostat.domain.evidence import power_measurement
from rheostat.domain.job import Job
from rheostat.domain.placements import wire_gpu
from rheostat.domain.records import ObservationRecord, PlacementKey, PlacementRecord, PowerMeasurementRecord
from rheostat.schemas.review import Observation, PlacementPowerCurves, PowerCurve, PowerCurves, PowerPoint


def power_curves(job: Job, measured: Mapping[PlacementKey, Sequence[PowerMeasurementRecord]]) -> PowerCurves:
    """Return what each measured power limit costs per epoch.

    Args:
        job: The job, at whose knobs they are priced.
        measured: By placement the latest measurement of each batch size and limit.
    """
    return PowerCurves(
        job_id=job.job_id,
        placements=[
            PlacementPowerCurves(gpu=wire_gpu(placement), curves=_curves(job, placement, measured.get(key, ())))
            for key, placement in job.placements.items()
        ],
    )


def wire_observation(record: ObservationRecord) -> Observation:
    """Return a report as the wire shows it."""
    return Observation(
        epoch=record.epoch,
        metric=record.metric,
        energy_joules=record.energy_joules,
        time_seconds=record.time_seconds,
        outcome=record.outcome,
        received_at=record.received_at,
        state=record.answered_state,
        reason=record.answered_reason,
    )


def _curves(job: Job, placement: PlacementRecord, records: Sequence[PowerMeasurementRecord]) -> list[PowerCurve]:
    view = job.view(placement)
    points: dict[int, list[PowerPoint]] = {}
    for record in sorted(records, key=lambda record: (record.batch_size, record.power_limit_watts)):
        epoch = power_measurement(view, record)
        points.setdefault(record.batch_size, []).append(
            PowerPoint(
                power_limit_watts=epoch.power_limit_watts,
                cost=epoch.cost,
                energy_joules=epoch.energy_joules,
                time_seconds=epoch.time_seconds,
                of_an_epoch=epoch.of_an_epoch,
                surveyed=epoch.surveyed,
            )
        )
    return [PowerCurve(batch_size=size, points=points[size]) for size in points]
