"""Jobs: register, update, show, delete, rebuild."""

import secrets
from concurrent.futures import Future

from rheostat.domain import insight, registration
from rheostat.domain.job import Decision
from rheostat.domain.repricing import repriced
from rheostat.errors import JobBusy
from rheostat.schemas.insight import Estimates, Savings
from rheostat.schemas.server import JobDetail, JobPage, JobSettings, JobUpdate
from rheostat.service.context import Service
from rheostat.storage.queries import page_of_jobs


def register_job(service: Service, job_id: str, settings: JobSettings) -> Future[Decision[tuple[JobDetail, bool]]]:
    """Register a job, or find it registered with the same settings; the answer says whether it is new.

    Raises:
        JobDiffers: It is registered with other settings.
        InvalidInput: There is no such policy.
    """
    return service.change(
        service.job(job_id),
        lambda job, _: registration.register_again(job, settings),
        if_missing=lambda: registration.register(
            registration.new_job(job_id, settings, secrets.randbits(53), service.now())
        ),
        alone=True,  # it waits for another transaction that registers the same job
    )


def update_job(service: Service, job_id: str, update: JobUpdate) -> Future[Decision[JobDetail]]:
    """Change the knobs of a job; its policy state is derived from the evidence again where it depends on them.

    Raises:
        JobNotFound: There is no such job.
        InvalidInput: There is no such policy, or a present batch size is missing.
        PolicyFailed: The policy raised.
    """
    return service.change(
        service.job(job_id),
        lambda job, history: registration.update(job, history, update, service.now()),
    )


def get_job(service: Service, job_id: str) -> JobDetail:
    """Return a job.

    Raises:
        JobNotFound: There is no such job.
    """
    return service.jobs.read(service.job(job_id), lambda job, _: registration.job_detail(job))


def list_jobs(service: Service, *, cursor: str | None, limit: int) -> JobPage:
    """Return a page of jobs in the order of their ids, those after the cursor."""
    jobs = page_of_jobs(service.database, service.namespace, after=cursor or "", limit=limit + 1)
    return JobPage(
        jobs=[registration.job_detail(job) for job in jobs[:limit]],
        next_cursor=jobs[limit - 1].job_id if len(jobs) > limit else None,
    )


def delete_job(service: Service, job_id: str, *, force: bool) -> Future[Decision[None]]:
    """Delete a job with all that was learned from it; a server deletes its rows in the background.

    Raises:
        JobNotFound: There is no such job.
        JobBusy: Trials are running, and ``force`` is not given.
    """
    deleted = service.change(
        service.job(job_id),
        lambda job, _: registration.delete(job, force=force, now=service.now()),
        alone=True,
    )

    def go_on(change: Future[Decision[None]]) -> None:
        if change.cancelled():
            return
        if (error := change.exception()) is None:
            service.purger.wake()
        elif isinstance(error, JobBusy):
            service.touch(service.job(job_id))  # a lease that ends too late must not keep the job for hours

    deleted.add_done_callback(go_on)
    return deleted


def rebuild_job(service: Service, job_id: str) -> Future[Decision[int]]:
    """Derive the policy's state of a job from the recorded evidence; the answer is how many pieces there were.

    Raises:
        JobNotFound: There is no such job.
        PolicyFailed: The policy raised.
    """
    key = service.job(job_id)
    with_sums = not service.jobs.read(key, registration.has_right_sums)
    return service.change(
        key, lambda job, history: registration.rebuild(job, history, service.now(), with_sums=with_sums)
    )


def estimates(service: Service, job_id: str, *, eta_knob: float | None = None) -> Estimates:
    """Return what the policy believes of every arm on every placement.

    Args:
        service: The service.
        job_id: The job.
        eta_knob: Price its runs as if its knob were this; None: as it is.

    Raises:
        JobNotFound: There is no such job.
        Conflict: Its policy cannot price the past otherwise.
        PolicyFailed: The policy raised.
    """
    return service.jobs.read(
        service.job(job_id),
        lambda job, _: insight.estimates(job if eta_knob is None else repriced(job, eta_knob)),
    )


def savings(service: Service, job_id: str) -> Savings:
    """Return what the job cost against always running the default at the maximum limit.

    Raises:
        JobNotFound: There is no such job.
    """
    return service.jobs.read(service.job(job_id), insight.savings)
