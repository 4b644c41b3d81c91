"""The use cases of `/zeus`: register a job, begin a trial, report, and end a trial."""

import secrets
from concurrent.futures import Future
from uuid import uuid4

from rheostat.domain import zeus
from rheostat.domain.job import Decision
from rheostat.schemas.zeus import ZeusJob, ZeusReport, ZeusTrial, ZeusVerdict
from rheostat.service.context import Service


def register_job(service: Service, wanted: ZeusJob, policy: str | None) -> Future[Decision[zeus.Registered]]:
    """Register a job, or find it registered with the same settings.

    Args:
        service: The service.
        wanted: The job; without an id it is given one.
        policy: The policy of a new job; None: `zeus`.

    Raises:
        JobDiffers: It is registered with other settings.
        InvalidInput: There is no such policy.
    """
    job_id = wanted.job_id or "-".join(filter(None, [wanted.job_id_prefix, secrets.token_hex(4)]))
    return service.change(
        service.job(job_id),
        lambda job, _: zeus.register_again(job, wanted),
        if_missing=lambda: zeus.register(job_id, wanted, policy, secrets.randbits(53), service.now()),
        alone=True,  # it waits for another transaction that registers the same job
    )


def predict(service: Service, job_id: str) -> Future[Decision[ZeusTrial]]:
    """Make a trial of a job; see :func:`rheostat.domain.zeus.predict` for what it raises.

    Raises:
        JobNotFound: There is no such job.
    """
    trial_id = uuid4().hex
    return service.change(
        service.job(job_id),
        lambda job, history: zeus.predict(job, history, trial_id=trial_id, clock=service.clock()),
    )


def report(service: Service, wanted: ZeusReport) -> Future[Decision[ZeusVerdict]]:
    """Take a report of a trial; see :func:`rheostat.domain.zeus.report` for what it raises.

    Raises:
        JobNotFound: There is no such job.
    """
    return service.change(
        service.job(wanted.job_id), lambda job, history: zeus.report(job, history, wanted, service.clock())
    )


def end_trial(service: Service, wanted: ZeusTrial) -> Future[Decision[None]]:
    """End a trial whose trainer has left.

    Raises:
        JobNotFound: There is no such job.
        TrialNotFound: It has no such trial.
    """
    return service.change(
        service.job(wanted.job_id), lambda job, history: zeus.end_trial(job, history, wanted, service.clock())
    )
