"""How the wire shows trials and the answers to their reports."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rheostat.domain import energy, epochs, plausibility, resuming
from rheostat.domain.job import Job
from rheostat.domain.placements import wire_gpu
from rheostat.domain.records import ObservationRecord, TrialRecord
from rheostat.schemas.nodes import NodeReport
from rheostat.schemas.server import Gpu
from rheostat.schemas.trials import ObserveAnswer, Trial, TrialDetail

LEASE_EXPIRED = "its lease expired"


def wire_trial(job: Job, trial: TrialRecord) -> Trial:
    """Return a trial as `predict` answers it."""
    return Trial.model_construct(**_wire_fields(job, trial))


def trial_detail(job: Job, trial: TrialRecord, now: datetime) -> TrialDetail:
    """Return a trial as the wire shows it; one whose lease expired counts as abandoned."""
    placement = job.placements[trial.placement]
    view = job.view(placement)
    lost = trial.state == "running" and trial.lease_expires_at < now
    return TrialDetail(
        **(_wire_fields(job, trial) | {"state": "abandoned" if lost else trial.state}),
        state_reason=LEASE_EXPIRED if lost else trial.state_reason,
        gpu=gpu_of(trial) or wire_gpu(placement),
        node=trial.node,
        epochs=trial.epochs,
        epochs_run=epochs.epochs_run(trial),
        resumes=trial.resumes,
        metric=trial.metric,
        energy_joules=trial.energy_joules,
        energy_is_estimated=energy.is_estimated(trial),
        energy_estimate=energy.explanation(trial, view.max_power_watts),
        time_seconds=trial.time_seconds,
        cost=view.cost(trial.energy_joules, trial.time_seconds),
        tags=trial.tags or {},
        nodes=nodes_of(trial.nodes),
        warning=trial.warning,
        created_at=trial.created_at,
        ended_at=trial.lease_expires_at if lost else trial.ended_at,
    )


def wire_answer(observation: ObservationRecord, trial: TrialRecord) -> ObserveAnswer:
    """Return what a report of a trial was answered, with the warnings that the trial has by now."""
    return ObserveAnswer(
        state=observation.answered_state,
        action="continue" if observation.answered_state == "running" else "stop",
        reason=observation.answered_reason,
        power_limit_watts=observation.answered_power_limit_watts,
        warnings=plausibility.listed(trial.warning),
    )


def gpu_of(trial: TrialRecord) -> Gpu | None:
    """Return what the node of a trial told of its GPUs; None for trials of before that was kept."""
    return None if trial.gpu is None else Gpu.model_construct(**trial.gpu)


def nodes_of(stored: Sequence[Mapping[str, Any]] | None) -> list[NodeReport]:
    """Return what a trial reported of its nodes."""
    return [NodeReport.model_validate(node) for node in stored or ()]


def _wire_fields(job: Job, trial: TrialRecord) -> dict[str, Any]:
    return {
        "trial_id": trial.trial_id,
        "job_id": job.job_id,
        "number": trial.number,
        "batch_size": trial.batch_size,
        "learning_rate": trial.learning_rate,
        "power_limit_watts": trial.power_limit_watts,
        "profile_power_limits_watts": trial.profile_power_limits_watts,
        "reason": trial.reason,
        "state": trial.state,
        "lease_expires_at": trial.lease_expires_at,
        "progress": resuming.progress(trial),
        "warnings": plausibility.listed(trial.warning),
    }
