"""The policy's state as a fold over the raw evidence, a piece at a time or all of it."""

import logging

from rheostat.errors import PolicyFailed
from rheostat.policy.cost import PowerMeasurement
from rheostat.policy.interface import Job
from rheostat.service.open_job import OpenJob
from rheostat.storage.evidence import PowerMeasurements, Runs
from rheostat.storage.records import PlacementRecord, PowerMeasurementRecord, RunRecord, TrialRecord
from rheostat.storage.trials import Trials

_log = logging.getLogger(__name__)

Evidence = TrialRecord | RunRecord | PowerMeasurementRecord


def fold(job: OpenJob, placement: PlacementRecord, evidence: Evidence) -> None:
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
            {True: "converged", False: "failed", None: None}[evidence.converged],
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


def rebuild(job: OpenJob, placement: PlacementRecord) -> int:
    """Derive the state of a placement from all of its evidence, in order, and save it.

    Returns:
        How many pieces of evidence there were.

    Raises:
        PolicyFailed: The policy raised.
    """
    view = job.view(placement)
    job.states.clear(view)
    job.advisor.register(view, job.settings.batch_sizes)
    evidence: list[Evidence] = [
        *Trials(job.connection).concluded(placement.placement_pk),
        *Runs(job.connection).of_placement(placement.placement_pk),
        *PowerMeasurements(job.connection).of_placement(placement.placement_pk),
    ]
    for piece in sorted(evidence, key=lambda piece: piece.sequence or 0):
        fold(job, placement, piece)
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
    return PowerMeasurement(record.power_limit_watts, cost, seconds, energy)


def run_cost(view: Job, record: RunRecord) -> float:
    """Return the cost of a whole run in joules: as given, or at the job's present knobs."""
    cost = view.cost(record.energy_joules, record.time_seconds) if record.cost is None else record.cost
    assert cost is not None
    return cost
