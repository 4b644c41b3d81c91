"""Running trials: reports, signs of life, and looking at them."""

import logging
from dataclasses import replace
from datetime import datetime
from typing import Any

from rheostat.errors import FieldError, InvalidInput, PolicyFailed, ReportContradicts, TrialNotFound
from rheostat.policy.advisor import Verdict
from rheostat.policy.learning_curve import LearningCurve, Target
from rheostat.schemas.server import (
    HeartbeatAnswer,
    ObserveAnswer,
    ObserveRequest,
    TrialDetail,
    TrialPage,
    TrialState,
)
from rheostat.service.context import Service
from rheostat.service.desk import Decision, NotFromMemory, SignOfLife
from rheostat.service.fold import fold, learn
from rheostat.service.jobs import require
from rheostat.service.notes import note
from rheostat.service.open_job import KnownJob, OpenJob, wire_gpu
from rheostat.service.remembered import RememberedJob
from rheostat.storage.commits import Commit, Renewal
from rheostat.storage.engine import Transaction
from rheostat.storage.jobs import Jobs, Placements
from rheostat.storage.records import JobRecord, ObservationRecord, PlacementRecord, TrialRecord
from rheostat.storage.trials import Observations, Trials

_log = logging.getLogger(__name__)

_OPEN = ("running", "abandoned")
_TEACHING = ("converged", "failed", "stopped", "oom")


def observe(service: Service, trial_id: str, request: ObserveRequest) -> ObserveAnswer:
    """Take a report of a trial and say whether it should go on.

    A repeated report gets the same answer. A report of a trial that was given up for lost is taken as any other:
    it lives, or has come to its end. A report after the end is kept, and answered with the end.

    Raises:
        TrialNotFound: There is no such trial.
        ReportContradicts: An earlier report of the same epoch said otherwise.
        InvalidInput: Energy or time is less than at an earlier epoch, or more than at a later one.
    """
    return service.desk.ask(to_observe(service, trial_id, request))


def to_observe(service: Service, trial_id: str, request: ObserveRequest) -> Decision[ObserveAnswer]:
    """Return what :func:`observe` asks of the desk."""

    def decide(job: RememberedJob) -> tuple[Commit, ObserveAnswer]:
        trial = job.running.get(trial_id)
        if trial is None or request.outcome is not None or request.epoch <= (trial.epochs or 0.0):
            raise NotFromMemory
        _check_totals(request, trial, None)
        now = service.now()
        placement = job.placement(trial.placement_pk)
        reported = _with_report(job.target(), trial, request)
        verdict = _verdict(job, placement, reported, request)
        saved = _with_verdict(service, job, reported, verdict, now)
        if saved.sequence is not None:
            fold(job, placement, saved)
        observation = _observation(saved, request, verdict, _power_limit(job, placement, trial), now)
        return job.commit(saved, observation), _answer(observation)

    return Decision(
        decide, lambda: _observe_under_lock(service, trial_id, request), service.namespace, trial_id=trial_id
    )


def _observe_under_lock(service: Service, trial_id: str, request: ObserveRequest) -> ObserveAnswer:
    def work(connection: Transaction) -> ObserveAnswer:
        record = _require(Jobs(connection).find_by_trial(service.namespace, trial_id, lock=True), trial_id)
        job = OpenJob(connection, record)
        note(job_id=record.job_id)
        trial = Trials(connection).find(trial_id)
        assert trial is not None
        known = _earlier_report(connection, trial, request)
        if known is not None:
            _check_same(known, request)
            _renew_lease(service, connection, trial)
            return _answer(known)
        _check_cumulative(connection, trial, request)
        now = service.now()
        placement = job.placement(trial.placement_pk)
        reported = _with_report(job.target(), trial, request)
        verdict = _verdict(job, placement, reported, request)
        saved = _with_verdict(service, job, reported, verdict, now)
        Trials(connection).save(saved)
        if saved.sequence is not None and trial.sequence is None:
            _conclude(job, placement, saved)
        if trial.state in _OPEN and saved.state != "running":
            note(ended=saved.state, energy_joules=saved.energy_joules, time_seconds=saved.time_seconds)
        observation = _observation(saved, request, verdict, _power_limit(job, placement, trial), now)
        Observations(connection).add(observation)
        return _answer(observation)

    return service.database.write(work)


def heartbeat(service: Service, trial_id: str) -> HeartbeatAnswer:
    """Renew the lease of a trial.

    Raises:
        TrialNotFound: There is no such trial.
    """
    return service.desk.ask(to_heartbeat(service, trial_id))


def to_heartbeat(service: Service, trial_id: str) -> SignOfLife[HeartbeatAnswer]:
    """Return what :func:`heartbeat` asks of the desk."""
    until = service.now() + service.lease
    answer = HeartbeatAnswer(state="running", lease_expires_at=until)
    return SignOfLife(
        Renewal(service.namespace, trial_id, until), answer, lambda: _heartbeat_under_lock(service, trial_id)
    )


def _heartbeat_under_lock(service: Service, trial_id: str) -> HeartbeatAnswer:
    def work(connection: Transaction) -> HeartbeatAnswer:
        _require(Jobs(connection).find_by_trial(service.namespace, trial_id, lock=True), trial_id)
        trial = Trials(connection).find(trial_id)
        assert trial is not None
        renewed = _renew_lease(service, connection, trial)
        return HeartbeatAnswer(state=renewed.state, lease_expires_at=renewed.lease_expires_at)

    return service.database.write(work)


def get_trial(service: Service, trial_id: str) -> TrialDetail:
    """Return a trial as it is now.

    Raises:
        TrialNotFound: There is no such trial.
    """

    def work(connection: Transaction) -> TrialDetail:
        job = OpenJob(connection, _require(Jobs(connection).find_by_trial(service.namespace, trial_id), trial_id))
        trial = Trials(connection).find(trial_id)
        assert trial is not None
        return _detail(job, trial, service.now())

    return service.database.read(work)


def list_trials(
    service: Service, job_id: str, *, state: TrialState | None, cursor: int | None, limit: int
) -> TrialPage:
    """Return a page of a job's trials, newest first, those with numbers under the cursor.

    Raises:
        JobNotFound: There is no such job.
    """

    def work(connection: Transaction) -> TrialPage:
        job = OpenJob(connection, require(Jobs(connection).find(service.namespace, job_id), job_id))
        now = service.now()
        trials = Trials(connection).page(job.record.job_pk, state=state, now=now, before=cursor, limit=limit + 1)
        page = trials[:limit]
        return TrialPage(
            trials=[_detail(job, trial, now) for trial in page],
            next_cursor=str(page[-1].number) if len(trials) > limit else None,
        )

    return service.database.read(work)


def trial_fields(job_id: str, trial: TrialRecord) -> dict[str, Any]:
    """Return what `predict` answers of a trial, by the names of the wire."""
    return {
        "trial_id": trial.trial_id,
        "job_id": job_id,
        "number": trial.number,
        "batch_size": trial.batch_size,
        "learning_rate": trial.learning_rate,
        "power_limit_watts": trial.power_limit_watts,
        "profile_power_limits_watts": trial.profile_power_limits_watts,
        "reason": trial.reason,
        "lease_expires_at": trial.lease_expires_at,
    }


def _require(record: JobRecord | None, trial_id: str) -> JobRecord:
    if record is None:
        raise TrialNotFound(f"There is no trial {trial_id!r}.", hint="Trials come from POST /v1/jobs/{job_id}/predict.")
    return record


def _detail(job: OpenJob, trial: TrialRecord, now: datetime) -> TrialDetail:
    placement = job.placement(trial.placement_pk)
    lost = trial.state == "running" and trial.lease_expires_at < now
    return TrialDetail(
        **trial_fields(job.record.job_id, trial),
        state="abandoned" if lost else trial.state,
        state_reason="its lease ran out" if lost else trial.state_reason,
        gpu=wire_gpu(placement),
        node=trial.node,
        epochs=trial.epochs,
        metric=trial.metric,
        energy_joules=trial.energy_joules,
        time_seconds=trial.time_seconds,
        cost=job.view(placement).cost(trial.energy_joules, trial.time_seconds),
        created_at=trial.created_at,
        ended_at=trial.lease_expires_at if lost else trial.ended_at,
    )


def _answer(observation: ObservationRecord) -> ObserveAnswer:
    return ObserveAnswer(
        state=observation.answered_state,
        action="continue" if observation.answered_state == "running" else "stop",
        reason=observation.answered_reason,
        power_limit_watts=observation.answered_power_limit_watts,
    )


def _earlier_report(connection: Transaction, trial: TrialRecord, request: ObserveRequest) -> ObservationRecord | None:
    """Return the report of the same epoch."""
    return Observations(connection).find(trial.trial_id, request.epoch, closing=request.outcome is not None)


def _check_same(known: ObservationRecord, request: ObserveRequest) -> None:
    fields = [
        FieldError(name, f"was {getattr(known, name)!r} in the first report")
        for name in ("metric", "energy_joules", "time_seconds", "outcome")
        if getattr(known, name) != getattr(request, name)
    ]
    if fields:
        raise ReportContradicts(
            f"Epoch {request.epoch:g} was reported before, with another {fields[0].field}.",
            hint="A repeated report must be the same; the first one counts.",
            fields=fields,
        )


def _check_cumulative(connection: Transaction, trial: TrialRecord, request: ObserveRequest) -> None:
    # An ended trial stays at the epoch of its end, however many reports come later.
    if trial.state in _OPEN and (trial.epochs is None or request.epoch >= trial.epochs):
        before: TrialRecord | ObservationRecord | None = trial
        after: ObservationRecord | None = None
    else:
        before = Observations(connection).before(trial.trial_id, request.epoch)
        after = Observations(connection).after(trial.trial_id, request.epoch)
    _check_totals(request, before, after)


def _check_totals(
    request: ObserveRequest, before: TrialRecord | ObservationRecord | None, after: ObservationRecord | None
) -> None:
    fields = []
    for name in ("energy_joules", "time_seconds"):
        value = getattr(request, name)
        low, high = getattr(before, name, None), getattr(after, name, None)
        if value is not None and low is not None and value < low:
            fields.append(FieldError(name, f"must be at least {low!r}, what an earlier epoch reported"))
        if value is not None and high is not None and value > high:
            fields.append(FieldError(name, f"must be at most {high!r}, what a later epoch reported"))
    if fields:
        raise InvalidInput(
            f"{fields[0].field} must be the total since the trial began.",
            hint="Report totals of the whole trial, not figures of one epoch.",
            fields=fields,
        )


def _with_report(target: Target | None, trial: TrialRecord, request: ObserveRequest) -> TrialRecord:
    """Return the trial with the report's figures.

    A report of an earlier epoch changes nothing, nor does one after the end: what was learnt from the trial stays
    what its figures say.
    """
    late = trial.epochs is not None and request.epoch < trial.epochs
    if late or trial.state not in _OPEN:
        return trial
    return replace(
        trial,
        epochs=request.epoch,
        metric=trial.metric if request.metric is None else request.metric,
        energy_joules=trial.energy_joules if request.energy_joules is None else request.energy_joules,
        time_seconds=trial.time_seconds if request.time_seconds is None else request.time_seconds,
        curve=LearningCurve.from_state(trial.curve).add(request.epoch, request.metric, target).to_state(),
    )


def _verdict(job: KnownJob, placement: PlacementRecord, trial: TrialRecord, request: ObserveRequest) -> Verdict:
    if trial.state not in _OPEN:
        return Verdict(trial.state, f"the trial has ended already: {trial.state_reason}")
    view = job.view(placement)
    try:
        return job.advisor.assess(
            view,
            batch_size=trial.batch_size,
            epoch=request.epoch,
            metric=request.metric,
            cost=view.cost(trial.energy_joules, trial.time_seconds),
            outcome=request.outcome,
            curve=LearningCurve.from_state(trial.curve),
        )
    except PolicyFailed as failure:
        _log.exception("trial %s goes on", trial.trial_id)
        return Verdict("running", f"goes on, for the policy cannot say: {failure.message}")


def _with_verdict(service: Service, job: KnownJob, trial: TrialRecord, verdict: Verdict, now: datetime) -> TrialRecord:
    """Return the trial with what a report made of it."""
    if trial.state not in _OPEN:
        return trial
    return replace(
        trial,
        state=verdict.state,
        state_reason=verdict.reason,
        lease_expires_at=max(trial.lease_expires_at, now + service.lease),
        ended_at=None if verdict.state == "running" else now,
        sequence=job.take_sequence() if verdict.state in _TEACHING else None,
    )


def _conclude(job: OpenJob, placement: PlacementRecord, trial: TrialRecord) -> None:
    if trial.state == "oom":
        smallest = placement.smallest_oom_batch_size
        if smallest is None or trial.batch_size < smallest:
            Placements(job.connection).save_oom(placement.placement_pk, trial.batch_size)
    learn(job, placement, trial)


def _power_limit(job: KnownJob, placement: PlacementRecord, trial: TrialRecord) -> int | None:
    try:
        return job.advisor.power(job.view(placement), trial.batch_size).power_limit_watts
    except PolicyFailed:
        _log.exception("no power limit for trial %s", trial.trial_id)
        return trial.power_limit_watts


def _observation(
    trial: TrialRecord,
    request: ObserveRequest,
    verdict: Verdict,
    power_limit_watts: int | None,
    now: datetime,
) -> ObservationRecord:
    return ObservationRecord(
        trial_id=trial.trial_id,
        epoch=request.epoch,
        closing=request.outcome is not None,
        metric=request.metric,
        energy_joules=request.energy_joules,
        time_seconds=request.time_seconds,
        outcome=request.outcome,
        received_at=now,
        answered_state=verdict.state,
        answered_reason=verdict.reason,
        answered_power_limit_watts=power_limit_watts,
    )


def _renew_lease(service: Service, connection: Transaction, trial: TrialRecord) -> TrialRecord:
    """Give an open trial a new lease; one that was given up for lost runs again."""
    if trial.state not in _OPEN:
        return trial
    renewed = replace(
        trial,
        state="running",
        state_reason=trial.state_reason if trial.state == "running" else "it was heard of again",
        lease_expires_at=max(trial.lease_expires_at, service.now() + service.lease),
        ended_at=None,
    )
    Trials(connection).save(renewed)
    return renewed
