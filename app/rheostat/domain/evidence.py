"""What a job's policy learns from: trials that ended, whole runs and measured power limits."""

from datetime import datetime
from functools import partial

from rheostat.domain import control, crashes, energy, judging
from rheostat.domain.history import History
from rheostat.domain.job import Decision, Draft, Job
from rheostat.domain.placements import power_limits, reference_power_watts
from rheostat.domain.records import Evidence, PlacementRecord, PowerMeasurementRecord, RunRecord
from rheostat.errors import Conflict, FieldError, InvalidInput, KeyReused
from rheostat.policy.cost import PowerMeasurement
from rheostat.policy.interface import STATE_OF_VERDICT
from rheostat.policy.interface import Job as PolicyJob
from rheostat.policy.learning_curve import LearningCurve
from rheostat.schemas.power import (
    ObservePowerLimitRequest,
    PowerLimitAnswer,
    PowerLimitMeasurement,
    PredictPowerLimitRequest,
)
from rheostat.schemas.server import Gpu, ObserveRunAnswer, ObserveRunRequest


def observe_run(
    job: Job, history: History, request: ObserveRunRequest, *, run_id: str, idempotency_key: str | None, now: datetime
) -> Decision[ObserveRunAnswer]:
    """Learn from a whole run; the same idempotency key records it once.

    Raises:
        UnknownBatchSize: The batch size is not among those of the job.
        NoPowerLimitFits: None of the job's power limits lies in the GPU's range.
        KeyReused: The key belongs to another run.
    """
    job.check_batch_size(request.batch_size)
    draft = Draft(job)
    placement = enter(draft, history, request.gpu)
    known = None if idempotency_key is None else history.run_by_key(idempotency_key)
    if known is not None:
        _check_same_run(known, placement, request)
        return Decision(_run_answer(draft, placement, known), job)
    run = RunRecord(
        run_id=run_id,
        placement=placement.key,
        idempotency_key=idempotency_key,
        **request.model_dump(exclude={"gpu"}),
        sequence=draft.take_sequence(),
        received_at=now,
    )
    answer = _run_answer(draft, placement, run)
    draft.runs.append(run)
    draft.learn(lambda: fold(draft, run))
    return draft.decided(answer)


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
    """Learn what some power limits cost, and answer as :func:`predict_power_limit` does.

    What comes again under the same idempotency key is not learned a second time.

    Raises:
        UnknownBatchSize: The batch size is not among those of the job.
        NoPowerLimitFits: None of the job's power limits lies in the GPU's range.
        InvalidInput: A measured limit lies outside of the GPU's range.
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
    _check_unit(request, history.latest_measurement(placement.key, request.batch_size))
    for measurement in request.measurements:
        record = PowerMeasurementRecord(
            placement=placement.key,
            batch_size=request.batch_size,
            **measurement.model_dump(),
            sequence=draft.take_sequence(),
            received_at=now,
            idempotency_key=idempotency_key,
        )
        draft.measurements.append(record)
        draft.learn(partial(fold, draft, record))
    return draft.decided(_advice(draft, job.view(placement, request.gpu), request.batch_size))


def enter(draft: Draft, history: History, gpu: Gpu) -> PlacementRecord:
    """Return the placement on some GPUs, made if it is new.

    Where the maximum power of a placement becomes known, or is another one than was assumed, its past is priced anew.

    Raises:
        NoPowerLimitFits: None of the job's power limits lies in the GPU's range.
        PolicyFailed: The policy raised.
    """
    known = draft.job.find(gpu)
    placement = draft.enter(gpu)
    if known is not None and reference_power_watts(placement) != reference_power_watts(known):
        fold_all(draft, history)
    return placement


def fold(draft: Draft, evidence: Evidence) -> None:
    """Let the policy learn from one piece of evidence, and add a run's energy to the sums of its placement.

    Raises:
        PolicyFailed: The policy raised.
    """
    view = draft.view(draft.placement(evidence.placement))
    if isinstance(evidence, PowerMeasurementRecord):
        draft.advisor.measure(view, evidence.batch_size, power_measurement(view, evidence))
        return
    run = judging.judged(draft.job, evidence)
    if isinstance(run, RunRecord):
        draft.advisor.conclude(
            view,
            STATE_OF_VERDICT[run.converged],
            batch_size=run.batch_size,
            cost=_run_cost(draft, view, run),
        )
    elif run is not None:
        draft.advisor.conclude(
            view,
            run.state,
            batch_size=run.batch_size,
            cost=view.cost(run.energy_joules, run.time_seconds),
            epochs=run.epochs,
            curve=LearningCurve.from_state(run.curve),
        )
    draft.energy[view] = energy.learn(draft.energy.get(view), evidence)


def fold_all(draft: Draft, history: History) -> int:
    """Derive the policy's state of all placements from their evidence, in the job's order.

    One placement after the other would not do: what a placement learns may depend on what the others knew by then.

    Returns:
        How many pieces of evidence there were.

    Raises:
        PolicyFailed: The policy raised.
    """
    draft.states.clear()
    for placement in draft.job.placements.values():
        draft.advisor.register(draft.view(placement), draft.job.settings.batch_sizes)
    evidence = history.evidence()
    for piece in evidence:
        fold(draft, piece)
    crashes.fold_all(draft, history)
    return len(evidence)


def power_measurement(view: PolicyJob, record: PowerMeasurementRecord) -> PowerMeasurement:
    """Return a measurement scaled to one epoch, or to one step where the steps of an epoch are unknown."""
    if record.cost is not None:
        return PowerMeasurement(record.power_limit_watts, record.cost)
    assert record.time_seconds is not None
    assert record.energy_joules is not None
    assert record.steps is not None
    factor = (record.steps_per_epoch or 1.0) / record.steps
    joules, seconds = record.energy_joules * factor, record.time_seconds * factor
    cost = view.cost(joules, seconds)
    assert cost is not None
    return PowerMeasurement(record.power_limit_watts, cost, seconds, joules, record.steps_per_epoch is not None)


def _run_cost(draft: Draft, view: PolicyJob, record: RunRecord) -> float:
    """Return the cost of a whole run in joules: as given, or at the job's present knobs and what was metered before."""
    if record.cost is not None:
        return record.cost
    cost = view.cost(energy.of_whole_run(record, draft.energy.get(view)), record.time_seconds)
    assert cost is not None
    return cost


def _run_answer(draft: Draft, placement: PlacementRecord, run: RunRecord) -> ObserveRunAnswer:
    return ObserveRunAnswer(run_id=run.run_id, cost=_run_cost(draft, draft.view(placement), run))


def _check_same_run(known: RunRecord, placement: PlacementRecord, request: ObserveRunRequest) -> None:
    fields = [
        FieldError(name, f"was {getattr(known, name)!r} in the first request with this key")
        for name, value in request.model_dump(exclude={"gpu"}).items()
        if getattr(known, name) != value
    ]
    if known.placement != placement.key:
        fields.append(FieldError("gpu", "differs from the first request with this key"))
    if fields:
        raise KeyReused(
            f"The Idempotency-Key belongs to another run, {known.run_id}.",
            hint="Use a new key for every run.",
            fields=fields,
        )


def _check_same_measurements(
    known: list[PowerMeasurementRecord], placement: PlacementRecord, request: ObservePowerLimitRequest
) -> None:
    """Check that a request repeats the one that brought some measurements."""
    names = PowerLimitMeasurement.model_fields
    before = [{name: getattr(record, name) for name in names} for record in known]
    differs = {
        "gpu": known[0].placement != placement.key,
        "batch_size": known[0].batch_size != request.batch_size,
        "measurements": before != [measurement.model_dump() for measurement in request.measurements],
    }
    fields = [FieldError(name, "differs from the first request with this key") for name in differs if differs[name]]
    if fields:
        raise KeyReused(
            "The Idempotency-Key belongs to other measurements.",
            hint="Use a new key for every request.",
            fields=fields,
        )


def _advice(draft: Draft, view: PolicyJob, batch_size: int) -> PowerLimitAnswer:
    advice = control.power(draft.job, draft.advisor, view, batch_size)
    return PowerLimitAnswer(
        power_limit_watts=advice.power_limit_watts,
        profile_power_limits_watts=list(advice.profile_power_limits_watts),
    )


def _check_limits(request: ObservePowerLimitRequest) -> None:
    lowest, highest = request.gpu.min_power_limit_watts, request.gpu.max_power_limit_watts
    if lowest is None or highest is None:
        raise InvalidInput(
            "Measured power limits need the GPU's range.",
            hint="Send the GPU's min_power_limit_watts and max_power_limit_watts.",
            fields=[FieldError("gpu.max_power_limit_watts", "must be given with measurements")],
        )
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
            f"Some measurements of batch size {request.batch_size} give the cost of an epoch and others, without "
            "steps_per_epoch, of a step: they cannot be compared.",
            hint="Send steps_per_epoch with all measurements of a batch size, or with none.",
            fields=[FieldError("measurements", "steps_per_epoch must be given for all or for none")],
        )
