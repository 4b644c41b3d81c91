"""Predict: make a trial."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from math import sqrt
from uuid import uuid4

from rheostat.errors import FieldError, KeyReused
from rheostat.policy.interface import Situation
from rheostat.schemas.server import JobSettings, PredictRequest, Trial
from rheostat.service.context import Service
from rheostat.service.desk import Decision, NotFromMemory
from rheostat.service.jobs import require
from rheostat.service.notes import note
from rheostat.service.open_job import KnownJob, OpenJob
from rheostat.service.remembered import RememberedJob
from rheostat.service.trials import trial_fields
from rheostat.storage.commits import Commit
from rheostat.storage.engine import Transaction
from rheostat.storage.jobs import Jobs
from rheostat.storage.records import PlacementRecord, TrialRecord
from rheostat.storage.trials import Trials


def predict(service: Service, job_id: str, request: PredictRequest, idempotency_key: str | None) -> Trial:
    """Make a trial of a job: choose its batch size and power limit, and give it a lease.

    The same idempotency key gives the same trial.

    Raises:
        JobNotFound: There is no such job.
        KeyReused: The key belongs to a trial on other GPUs.
        NoBatchSizeLeft: None fits the GPU's memory.
        NoPowerLimitFits: None of the job's power limits lies in the GPU's range.
        PolicyFailed: The policy raised or answered nonsense.
    """
    return service.desk.ask(to_predict(service, job_id, request, idempotency_key))


def to_predict(service: Service, job_id: str, request: PredictRequest, idempotency_key: str | None) -> Decision[Trial]:
    """Return what :func:`predict` asks of the desk."""

    def decide(job: RememberedJob) -> tuple[Commit, Trial]:
        now = service.now()
        placement = job.find(request.gpu)
        running = job.running.values()
        if placement is None or any(trial.lease_expires_at < now for trial in running):
            raise NotFromMemory
        if idempotency_key is not None and any(trial.idempotency_key == idempotency_key for trial in running):
            raise NotFromMemory
        trial = replace(
            _choose(service, job, placement, request, running=running, now=now), idempotency_key=idempotency_key
        )
        return job.commit(trial), _answer(job, trial)

    return Decision(
        decide, lambda: _under_lock(service, job_id, request, idempotency_key), service.namespace, job_id=job_id
    )


def _under_lock(service: Service, job_id: str, request: PredictRequest, idempotency_key: str | None) -> Trial:
    def work(connection: Transaction) -> Trial:
        job = OpenJob(connection, require(Jobs(connection).find(service.namespace, job_id, lock=True), job_id))
        if idempotency_key is not None:
            known = Trials(connection).find_by_key(job.record.job_pk, idempotency_key)
            if known is not None:
                return _same_trial(job, known, request)
        placement = job.enter(request.gpu)
        now = service.now()
        running = _still_running(connection, job, now)
        trial = replace(
            _choose(service, job, placement, request, running=running, now=now), idempotency_key=idempotency_key
        )
        Trials(connection).add(trial)
        job.states.save()
        note(started=True, trial_id=trial.trial_id, batch_size=trial.batch_size)
        return _answer(job, trial)

    return service.database.write(work)


def _still_running(connection: Transaction, job: OpenJob, now: datetime) -> list[TrialRecord]:
    """Return the running trials; those whose lease ran out are given up for lost."""
    running = Trials(connection).running(job.record.job_pk)
    overdue = [trial.trial_id for trial in running if trial.lease_expires_at < now]
    if overdue:
        Trials(connection).abandon(overdue, now, "its lease ran out")
        note(abandoned=len(overdue))
    return [trial for trial in running if trial.lease_expires_at >= now]


def _choose(
    service: Service,
    job: KnownJob,
    placement: PlacementRecord,
    request: PredictRequest,
    *,
    running: Iterable[TrialRecord],
    now: datetime,
) -> TrialRecord:
    view = job.view(placement, request.gpu)
    situation = Situation(
        permitted=job.permitted(placement, request.max_batch_size),
        pending=tuple(trial.batch_size for trial in running if trial.placement_pk == placement.placement_pk),
    )
    choice = job.advisor.choose(view, situation)
    power = job.advisor.power(view, choice.batch_size)
    return TrialRecord(
        trial_id=uuid4().hex,
        job_pk=job.record.job_pk,
        placement_pk=placement.placement_pk,
        number=job.take_trial_number(),
        idempotency_key=None,
        node=request.node,
        batch_size=choice.batch_size,
        learning_rate=_learning_rate(job.settings, choice.batch_size),
        power_limit_watts=power.power_limit_watts,
        profile_power_limits_watts=list(power.profile_power_limits_watts),
        reason=choice.reason,
        state="running",
        state_reason="not at the target yet",
        epochs=None,
        metric=None,
        energy_joules=None,
        time_seconds=None,
        curve=None,
        sequence=None,
        created_at=now,
        lease_expires_at=now + service.lease,
        ended_at=None,
    )


def _learning_rate(settings: JobSettings, batch_size: int) -> float | None:
    """Return the learning rate for a batch size.

    Linear scaling keeps the update per example (Goyal et al. 2017, "Accurate, Large Minibatch SGD"); square-root
    scaling keeps the variance of the update (Krizhevsky 2014; usual with Adam).
    """
    if settings.learning_rate is None:
        return None
    ratio = batch_size / settings.default_batch_size
    scale = {"linear": ratio, "sqrt": sqrt(ratio), "none": 1.0}[settings.learning_rate.scaling]
    return settings.learning_rate.default * scale


def _same_trial(job: OpenJob, known: TrialRecord, request: PredictRequest) -> Trial:
    if job.find(request.gpu) != job.placement(known.placement_pk):
        raise KeyReused(
            f"The Idempotency-Key belongs to trial {known.trial_id}, which was made for other GPUs.",
            hint="Use a new key for every run.",
            fields=[FieldError("gpu", "differs from the first request with this key")],
        )
    return _answer(job, known)


def _answer(job: KnownJob, trial: TrialRecord) -> Trial:
    return Trial.model_construct(**trial_fields(job.record.job_id, trial))
