"""Decisions about power limits: which is best for a batch size, what to measure, and learning from it."""

from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from rheostat.domain import control
from rheostat.domain.evidence import enter, fold
from rheostat.domain.history import History
from rheostat.domain.job import Decision, Draft, Job
from rheostat.domain.placements import power_limits, where_fits
from rheostat.domain.plausibility import check_energy
from rheostat.domain.records import PlacementKey, PlacementRecord, PowerMeasurementRecord
from rheostat.errors import Conflict, FieldError, InvalidInput, KeyReused
from rheostat.policy.interface import Job as PolicyJob
from rheostat.schemas.power import (
    ObservePowerLimitRequest,
    PowerLimitAnswer,
    PowerLimitMeasurement,
    PredictPowerLimitRequest,
)

_NOTHING_MEASURED: dict[str, Any] = dict.fromkeys(PowerLimitMeasurement.model_fields) | {"power_limit_watts": 0}


def predict_power_limit(job: Job, request: PredictPowerLimitRequest) -> PowerLimitAnswer:
    """Return the best power limit for a batch size, or what to measure first.

    Raises:
        UnknownBatchSize: The batch size is not among those of the job.
        NoPowerLimitFits: None of the job's power limits lies in the GPU's range.
        PolicyFailed: The policy raised.
    """
    job.check_batch_size(request.batch_size)
    placement = job.find(request.gpu)
    if placement is None:
        limits = power_limits(job.settings, request.gpu)
        only = limits[0] if len(limits) == 1 else None
        return PowerLimitAnswer(power_limit_watts=only, profile_power_limits_watts=list(limits) if only is None else [])
    return _advice(Draft(job), job.view(placement, request.gpu), request.batch_size)


def observe_power_limit(
    job: Job, history: History, request: ObservePowerLimitRequest, *, idempotency_key: str | None, now: datetime
) -> Decision[PowerLimitAnswer]:
    """Learn what some power limits cost, or that a batch size does not fit; answer as :func:`predict_power_limit` does.

    What is measured of a batch size that runs, or has run, is a run's; anything else is a survey's. What comes again
    under the same idempotency key is not learned a second time.

    Raises:
        UnknownBatchSize: The batch size is not among those of the job.
        NoPowerLimitFits: None of the job's power limits lies in the GPU's range.
        InvalidInput: A measured limit lies outside of the GPU's range, or the GPUs cannot have drawn the energy.
        Conflict: Some measurements of the batch size are of an epoch and others of a step.
        KeyReused: The key belongs to other measurements.
        PolicyFailed: The policy raised.
    """
    job.check_batch_size(request.batch_size)
    _check_limits(request)
    draft = Draft(job)
    placement = enter(draft, history, request.gpu)
    known = [] if idempotency_key is None else history.measurements_by_key(idempotency_key)
    if known:
        _check_same_measurements(known, placement, request)
        return Decision(_advice(Draft(job), job.view(placement, request.gpu), request.batch_size), job)
    check_energy(placement, _energies(request))
    surveyed = not _has_trained(job, history, placement.key, request.batch_size)
    _check_unit(request, history.latest_measurement(placement.key, request.batch_size), surveyed=surveyed)
    measured = [
        PowerMeasurementRecord(
            placement=placement.key,
            batch_size=request.batch_size,
            **figures,
            sequence=draft.take_sequence(),
            received_at=now,
            idempotency_key=idempotency_key,
            surveyed=surveyed,
            outcome=request.outcome,
        )
        for figures in _figures(request)
    ]
    draft.measurements += measured
    draft.learn(partial(_fold_all, draft, measured))
    _note_memory(draft, placement, request)
    return draft.decided(_advice(draft, job.view(placement, request.gpu), request.batch_size))


def _fold_all(draft: Draft, measured: list[PowerMeasurementRecord]) -> None:
    """Learn from the measurements of a request together: before and after each lesson the states are encoded."""
    for record in measured:
        fold(draft, record)


def _check_same_measurements(
    known: list[PowerMeasurementRecord], placement: PlacementRecord, request: ObservePowerLimitRequest
) -> None:
    """Check that a request repeats the one that brought some measurements."""
    repeated = [
        replace(record, **figures, outcome=request.outcome)
        for record, figures in zip(known, _figures(request), strict=False)
    ]
    differs = {
        "gpu": known[0].placement != placement.key,
        "batch_size": known[0].batch_size != request.batch_size,
        "outcome": known[0].outcome != request.outcome,
        "measurements": len(known) != len(_figures(request)) or known != repeated,
    }
    fields = [FieldError(name, "differs from the first request with this key") for name in differs if differs[name]]
    if fields:
        raise KeyReused(
            "The Idempotency-Key belongs to other measurements.",
            hint="Use a new key for every request.",
            fields=fields,
        )


def _figures(request: ObservePowerLimitRequest) -> list[dict[str, Any]]:
    """Return the figures to record of each measurement; for a batch size that does not fit one without any."""
    if request.outcome is not None:
        return [_NOTHING_MEASURED]
    return [m.model_dump() | {"power_limit_watts": m.power_limit_watts or 0} for m in request.measurements]


def _energies(request: ObservePowerLimitRequest) -> dict[str, tuple[float | None, float | None]]:
    return {
        f"measurements.{at}.energy_joules": (measurement.energy_joules, measurement.time_seconds)
        for at, measurement in enumerate(request.measurements)
    }


def _has_trained(job: Job, history: History, placement: PlacementKey, batch_size: int) -> bool:
    """Return whether a trial of a batch size runs on a placement, or has run an epoch there."""
    running = any(t.placement == placement and t.batch_size == batch_size for t in job.running.values())
    return running or history.has_trained(placement, batch_size)


def _note_memory(draft: Draft, placement: PlacementRecord, request: ObservePowerLimitRequest) -> None:
    """Close what does not fit in memory, and open what was said not to and yet has trained.

    A survey shares the GPU with whatever else is there, so what it says counts until a run says otherwise.
    """
    oom, size = placement.surveyed_oom_batch_size, request.batch_size
    if request.outcome is None:
        after = where_fits(placement, size)
    else:
        after = replace(placement, surveyed_oom_batch_size=size if oom is None else min(oom, size))
    if after != placement:
        draft.placements[placement.key] = after


def _advice(draft: Draft, view: PolicyJob, batch_size: int) -> PowerLimitAnswer:
    advice = control.power(draft.job, draft.advisor, view, batch_size, is_before_run=True)
    return PowerLimitAnswer(
        power_limit_watts=advice.power_limit_watts,
        profile_power_limits_watts=list(advice.profile_power_limits_watts),
    )


def _check_limits(request: ObservePowerLimitRequest) -> None:
    lowest, highest = request.gpu.min_power_limit_watts, request.gpu.max_power_limit_watts
    limits = {
        at: measurement.power_limit_watts
        for at, measurement in enumerate(request.measurements)
        if measurement.power_limit_watts is not None
    }
    if not limits:
        return
    if lowest is None or highest is None:
        raise InvalidInput(
            "Measured power limits need the GPU's range.",
            hint="Send the GPU's min_power_limit_watts and max_power_limit_watts.",
            fields=[FieldError("gpu.max_power_limit_watts", "must be given with measurements")],
        )
    fields = [
        FieldError(f"measurements.{at}.power_limit_watts", f"must lie in the GPU's range, {lowest} to {highest}")
        for at, limit in limits.items()
        if not lowest <= limit <= highest
    ]
    if fields:
        raise InvalidInput("A measured power limit lies outside of the GPU's range.", fields=fields)


def _is_of_an_epoch(measurement: PowerLimitMeasurement | PowerMeasurementRecord) -> bool:
    return measurement.cost is not None or measurement.steps_per_epoch is not None


def _check_unit(request: ObservePowerLimitRequest, earlier: PowerMeasurementRecord | None, *, surveyed: bool) -> None:
    units = {_is_of_an_epoch(measurement) for measurement in request.measurements}
    if earlier is not None and earlier.outcome is None and earlier.surveyed == surveyed:
        units.add(_is_of_an_epoch(earlier))
    if len(units) > 1:
        raise Conflict(
            f"Some measurements of batch size {request.batch_size} give the cost of an epoch and others, without "
            "steps_per_epoch, of a step: they cannot be compared.",
            hint="Send steps_per_epoch with all measurements of a batch size, or with none.",
            fields=[FieldError("measurements", "steps_per_epoch must be given for all or for none")],
        )
