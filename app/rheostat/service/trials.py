"""Trials and whole runs: start one, report, renew a lease, show."""

from concurrent.futures import Future
from uuid import uuid4

from rheostat.domain import evidence, leases, trial_views, trials
from rheostat.domain.job import Decision
from rheostat.schemas.fields import TrialState
from rheostat.schemas.nodes import HeartbeatRequest
from rheostat.schemas.trials import (
    HeartbeatAnswer,
    ObserveAnswer,
    ObserveRequest,
    ObserveRunAnswer,
    ObserveRunRequest,
    PredictRequest,
    Trial,
    TrialDetail,
    TrialPage,
)
from rheostat.service.context import Service
from rheostat.storage.stored_job import Key


def predict(
    service: Service, job_id: str, request: PredictRequest, idempotency_key: str | None
) -> Future[Decision[Trial]]:
    """Make a trial of a job; see :func:`rheostat.domain.trials.predict` for what it raises besides.

    Raises:
        JobNotFound: There is no such job.
    """
    trial_id = uuid4().hex
    return service.change(
        service.job(job_id),
        lambda job, history: trials.predict(
            job, history, request, trial_id=trial_id, idempotency_key=idempotency_key, clock=service.clock()
        ),
        repeat=idempotency_key and ("predict", idempotency_key),
    )


def observe(service: Service, trial_id: str, request: ObserveRequest) -> Future[Decision[ObserveAnswer]]:
    """Take a report of a trial and say whether it should go on; see :func:`rheostat.domain.trials.observe`.

    Raises:
        TrialNotFound: There is no such trial.
    """
    return service.change(
        service.trial(trial_id),
        lambda job, history: trials.observe(job, history, trial_id, request, service.clock()),
        repeat="observe",
    )


def heartbeat(
    service: Service, trial_id: str, request: HeartbeatRequest | None = None
) -> Future[Decision[HeartbeatAnswer]]:
    """Renew the lease of a trial, and keep what it says of its nodes.

    Raises:
        TrialNotFound: There is no such trial.
    """
    nodes = None if request is None else request.nodes
    return service.change(
        service.trial(trial_id),
        lambda job, history: trials.renew_lease(job, history, trial_id, service.clock(), nodes),
        repeat="heartbeat",
    )


def observe_run(
    service: Service, job_id: str, request: ObserveRunRequest, idempotency_key: str | None
) -> Future[Decision[ObserveRunAnswer]]:
    """Learn from a whole run; see :func:`rheostat.domain.evidence.observe_run` for what it raises besides.

    Raises:
        JobNotFound: There is no such job.
    """
    run_id = uuid4().hex
    return service.change(
        service.job(job_id),
        lambda job, history: evidence.observe_run(
            job, history, request, run_id=run_id, idempotency_key=idempotency_key, now=service.now()
        ),
        repeat=idempotency_key and ("observe_run", idempotency_key),
    )


def get_trial(service: Service, trial_id: str) -> TrialDetail:
    """Return a trial as it is now.

    Raises:
        TrialNotFound: There is no such trial.
    """
    key = service.trial(trial_id)
    detail = service.jobs.read(key, lambda job, history: trials.show(job, history, trial_id, service.now()))
    return _with_leases(service, key, [detail])[0]


def list_trials(
    service: Service,
    job_id: str,
    *,
    state: TrialState | None,
    cursor: int | None,
    limit: int,
    tag: str | None = None,
) -> TrialPage:
    """Return a page of a job's trials, newest first, those with numbers under the cursor.

    Args:
        service: The service.
        job_id: The job.
        state: Only trials in this state; None: in any.
        cursor: The number under which they are; None: the newest are wanted.
        limit: The longest page.
        tag: Only trials with this tag, as ``key=value``, or a key alone; None: all.

    Raises:
        JobNotFound: There is no such job.
    """
    now = service.now()
    details = service.jobs.read(
        service.job(job_id),
        lambda job, history: [
            trial_views.trial_detail(job, trial, now)
            for trial in history.trials(state=state, now=now, before=cursor, limit=limit + 1, tag=tag)
        ],
    )
    return TrialPage(
        trials=_with_leases(service, service.job(job_id), details[:limit]),
        next_cursor=str(details[limit - 1].number) if len(details) > limit else None,
    )


def _with_leases(service: Service, key: Key, details: list[TrialDetail]) -> list[TrialDetail]:
    """Return trials without leases that end too late; those of the job are taken back."""
    clock = service.clock()
    late = [one for one in details if one.state == "running" and leases.ends_too_late(one.lease_expires_at, clock)]
    if late:
        service.touch(key)
    update = {"lease_expires_at": clock.lease_expires_at}
    return [one.model_copy(update=update) if one in late else one for one in details]
