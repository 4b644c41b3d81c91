"""What a job's policy learns from: trials that ended, whole runs and measured power limits; and learning from it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rheostat.domain import energy, epochs, judging, setup, survey_sums, totals
from rheostat.domain.history import History
from rheostat.domain.job import Decision, Draft, Job
from rheostat.domain.plausibility import check_energy
from rheostat.domain.records import Evidence, PlacementRecord, PowerMeasurementRecord, RunRecord
from rheostat.errors import FieldError, KeyReused
from rheostat.policy.cost import Outlay, PowerMeasurement, given_cost, outlay_of
from rheostat.policy.interface import STATE_OF_VERDICT
from rheostat.policy.interface import Job as PolicyJob
from rheostat.policy.learning_curve import LearningCurve
from rheostat.schemas.server import Gpu
from rheostat.schemas.trials import ObserveRunAnswer, ObserveRunRequest


def observe_run(
    job: Job, history: History, request: ObserveRunRequest, *, run_id: str, idempotency_key: str | None, now: datetime
) -> Decision[ObserveRunAnswer]:
    """Learn from a whole run; the same idempotency key records it once.

    Raises:
        UnknownBatchSize: The batch size is not among those of the job.
        NoPowerLimitFits: None of the job's power limits lies in the GPU's range.
        KeyReused: The key belongs to another run.
        InvalidInput: The GPUs cannot have drawn its energy.
    """
    job.check_batch_size(request.batch_size)
    draft = Draft(job)
    placement = enter(draft, history, request.gpu)
    known = None if idempotency_key is None else history.run_by_key(idempotency_key)
    if known is not None:
        _check_same_run(known, placement, _run_figures(draft, request))
        return Decision(_run_answer(draft, placement, known), job)
    check_energy(placement, {"energy_joules": (request.energy_joules, request.time_seconds)})
    run = RunRecord(
        run_id=run_id,
        placement=placement.key,
        idempotency_key=idempotency_key,
        **_run_figures(draft, request),
        sequence=draft.take_sequence(),
        received_at=now,
    )
    answer = _run_answer(draft, placement, run)
    draft.runs.append(run)
    draft.learn(lambda: fold(draft, run))
    return draft.decided(answer)


def enter(draft: Draft, history: History, gpu: Gpu) -> PlacementRecord:
    """Return the placement on some GPUs, made if it is new.

    Where the maximum power of a placement becomes known, or is another one than was assumed, its past is priced with
    that: by a new fold over its evidence, unless its state does not depend on it.

    Raises:
        NoPowerLimitFits: None of the job's power limits lies in the GPU's range.
        PolicyFailed: The policy raised.
    """
    known = draft.job.find(gpu)
    placement = draft.enter(gpu)
    if known is not None and depends_on(draft.job, draft.job_with_placements()):
        derive_again(draft, history)
    return placement


def fold(draft: Draft, evidence: Evidence) -> None:
    """Let the policy learn from one piece of evidence, and add it to the sums of its placement.

    Raises:
        PolicyFailed: The policy raised.
    """
    view = draft.view(draft.placement(evidence.placement))
    if isinstance(evidence, PowerMeasurementRecord):
        if evidence.surveyed:
            draft.survey[view] = survey_sums.learn(draft.survey.get(view), evidence)
        if evidence.outcome is None:
            draft.advisor.measure(view, evidence.batch_size, power_measurement(view, evidence))
        return
    run = judging.judged(draft.job, evidence)
    if isinstance(run, RunRecord):
        state, part = STATE_OF_VERDICT[run.converged], _share_to_target(view, run)
        draft.advisor.conclude(
            view,
            state,
            batch_size=run.batch_size,
            cost=_run_outlay(draft, view, run).scaled(part),
            epochs=None if run.epochs is None else part * run.epochs,
            curve=LearningCurve.from_state(run.curve),
            may_stop_others=run.epochs is not None,
        )
    elif run is not None and not epochs.is_whole(run) and run.state != "oom":
        draft.advisor.learn_part(
            view,
            batch_size=run.batch_size,
            cost=setup.trained_outlay(run),
            epochs=epochs.epochs_run(run),
        )
    elif run is not None:
        outlay, share = outlay_of(run.energy_joules, run.time_seconds), epochs.comparable_share(run)
        draft.advisor.conclude(
            view,
            run.state,
            batch_size=run.batch_size,
            cost=None if outlay is None or share is None else outlay.scaled(share),
            epochs=run.epochs,
            curve=LearningCurve.from_state(run.curve),
            fixed=setup.outlay(run),
            beside_exploration=run.beside_exploration,
        )
    draft.energy[view] = energy.learn(draft.energy.get(view), evidence)


def derive_again(draft: Draft, history: History) -> int:
    """Derive the policy states of all placements from the job's evidence.

    Returns:
        How many pieces of evidence there were.

    Raises:
        PolicyFailed: The policy raised.
        RefoldNeeded: That takes too long for a decision.
    """
    derived = history.derived(draft.job_with_placements())
    draft.states.replace(derived.states)
    return derived.pieces


def depends_on(before: Job, after: Job) -> bool:
    """Return whether policy states depend on how a job differs from what it was: on more than read-time knobs.

    Batch sizes that are added are another matter: :func:`makes_room`.
    """
    if before.settings.policy != after.settings.policy:
        return True
    read_time = after.find_policy(after.settings.policy).read_time_knobs
    return before.judging != after.judging or any(
        not after.view(after.placements[key]).differs_in(before.view(placement)) <= read_time
        for key, placement in before.placements.items()
    )


def makes_room(draft: Draft, before: Job) -> bool:
    """Let the policy add the batch sizes that a job has not had; False where its states must be derived again for them.

    Raises:
        PolicyFailed: The policy raised.
    """
    sizes = draft.job.settings.batch_sizes
    return sizes == before.settings.batch_sizes or all(
        draft.advisor.add_batch_sizes(draft.view(placement), sizes) for placement in draft.job.placements.values()
    )


def add_up(draft: Draft, history: History) -> None:
    """Derive the sums of the runs of all placements from what is recorded (:mod:`rheostat.domain.totals`)."""
    for key in draft.job.placements:
        view = draft.view(draft.placement(key))
        draft.totals[view] = totals.fold(history.paid(key))


def power_measurement(view: PolicyJob, record: PowerMeasurementRecord) -> PowerMeasurement:
    """Return a measurement scaled to one epoch, or to one step where the steps of an epoch are unknown."""
    if record.cost is not None:
        return PowerMeasurement(record.power_limit_watts, record.cost, surveyed=record.surveyed)
    assert record.time_seconds is not None
    assert record.steps is not None
    factor = (record.steps_per_epoch or 1.0) / record.steps
    joules = None if record.energy_joules is None else record.energy_joules * factor
    seconds = record.time_seconds * factor
    cost = view.cost(joules, seconds)
    assert cost is not None
    return PowerMeasurement(
        record.power_limit_watts, cost, seconds, joules, record.steps_per_epoch is not None, record.surveyed
    )


def _run_outlay(draft: Draft, view: PolicyJob, record: RunRecord) -> Outlay:
    """Return what a whole run took: the cost that was given, or its time and energy by what was metered before."""
    if record.cost is not None:
        return given_cost(record.cost)
    outlay = outlay_of(energy.of_whole_run(record, draft.energy.get(view)), record.time_seconds)
    assert outlay is not None
    return outlay


def _share_to_target(view: PolicyJob, record: RunRecord) -> float:
    """Return which share of a whole run it took to reach the target; all of it where its curve does not say."""
    if record.converged is False or record.epochs is None or view.target is None:
        return 1.0
    reached = LearningCurve.from_state(record.curve).reached(view.target.value, view.target)
    return 1.0 if reached is None else reached / record.epochs


def _run_answer(draft: Draft, placement: PlacementRecord, run: RunRecord) -> ObserveRunAnswer:
    view = draft.view(placement)
    return ObserveRunAnswer(run_id=run.run_id, cost=view.price(_run_outlay(draft, view, run)))


def _run_figures(draft: Draft, request: ObserveRunRequest) -> dict[str, Any]:
    """Return what is recorded of a whole run; its curve says whether it converged, if nothing else does."""
    figures = request.model_dump(exclude={"gpu", "curve"})
    target = draft.job.target()
    curve = LearningCurve().add_all(((epoch, metric) for epoch, metric in request.curve or ()), target)
    if request.converged is None and target is not None and request.curve:
        figures["converged"] = curve.reached(target.value, target) is not None
    return figures | {"curve": curve.to_state() if request.curve else None}


def _check_same_run(known: RunRecord, placement: PlacementRecord, figures: Mapping[str, Any]) -> None:
    fields = [
        FieldError(name, f"was {getattr(known, name)!r} in the first request with this key")
        for name, value in figures.items()
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
