"""The policy's state as a fold over the raw evidence, a piece at a time or all of it."""

import logging

from rheostat.errors import PolicyFailed
from rheostat.policy.cost import PowerMeasurement
from rheostat.policy.interface import STATE_OF_VERDICT, Job
from rheostat.policy.learning_curve import LearningCurve
from rheostat.service.open_job import KnownJob, OpenJob
from rheostat.storage.evidence import PowerMeasurements, Runs
from rheostat.storage.records import PlacementRecord, PowerMeasurementRecord, RunRecord, TrialRecord
from rheostat.storage.trials import Trials

_log = logging.getLogger(__name__)

Evidence = TrialRecord | RunRecord | PowerMeasurementRecord


def fold(job: KnownJob, placement: PlacementRecord, evidence: Evidence) -> None:
    """Let the policy learn from one piece of evidence.

    Raises:
        PolicyFailed: The policy raised.
    """
    view = job.view(placement)
    if isinstance(evidence, PowerMeasurementRecord):
        job.advisor.measure(view, evidence.batch_size, power_measurement(view, evidence))
    elif isinstance(evidence, RunRecord):
        job.advisor.conclude(
            view,
            STATE_OF_VERDICT[evidence.converged],
            batch_size=evidence.batch_size,
            cost=run_cost(view, evidence),
        )
    else:
        job.advisor.conclude(
            view,
            evidence.state,
            batch_size=evidence.batch_size,
            cost=view.cost(evidence.energy_joules, evidence.time_seconds),
            epochs=evidence.epochs,
            curve=LearningCurve.from_state(evidence.curve),
        )


def learn(job: OpenJob, placement: PlacementRecord, evidence: Evidence) -> None:
    """Let the policy learn from new evidence, and save its state.

    A policy that fails loses nothing: the evidence is recorded, and `rheostat jobs rebuild` folds it later.
    """
    try:
        fold(job, placement, evidence)
        job.states.save()
    except PolicyFailed:
        _log.exception("job %s: run `rheostat jobs rebuild` when the policy is mended", job.record.job_id)


def rebuild(job: OpenJob) -> int:
    """Derive the state of all placements from their evidence, in the job's order, and save it.

    One after the other would not do: what a placement learns may depend on what the others knew by then.

    Returns:
        How many pieces of evidence there were.

    Raises:
        PolicyFailed: The policy raised.
    """
    evidence: list[Evidence] = []
    for placement in job.placements:
        view, pk = job.view(placement), placement.placement_pk
        job.states.clear(view)
        job.advisor.register(view, job.settings.batch_sizes)
        evidence += Trials(job.connection).concluded(pk)
        evidence += Runs(job.connection).of_placement(pk)
        evidence += PowerMeasurements(job.connection).of_placement(pk)
    for piece in sorted(evidence, key=lambda piece: piece.sequence or 0):
        fold(job, job.placement(piece.placement_pk), piece)
    job.states.save()
    return len(evidence)


def power_measurement(view: Job, record: PowerMeasurementRecord) -> PowerMeasurement:
    """Return a measurement scaled to one epoch, or to one step where the steps of an epoch are unknown."""
    if record.cost is not None:
        return PowerMeasurement(record.power_limit_watts, record.cost)
    assert record.time_seconds is not None
    assert record.energy_joules is not None
    assert record.steps is not None
    factor = (record.steps_per_epoch or 1.0) / record.steps
    energy, seconds = record.energy_joules * factor, record.time_seconds * factor
    cost = view.cost(energy, seconds)
    assert cost is not None
    return PowerMeasurement(record.power_limit_watts, cost, seconds, energy, record.steps_per_epoch is not None)


def run_cost(view: Job, record: RunRecord) -> float:
    """Return the cost of a whole run in joules: as given, or at the job's present knobs."""
    cost = view.cost(record.energy_joules, record.time_seconds) if record.cost is None else record.cost
    assert cost is not None
    return cost
