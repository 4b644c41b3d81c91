"""An operator's control of a job: pin, pause, force; see :mod:`rheostat.domain.orders`."""

from concurrent.futures import Future

from rheostat.domain import orders
from rheostat.domain.job import Decision
from rheostat.schemas.control import OrderRequest, PauseRequest
from rheostat.schemas.server import JobDetail
from rheostat.service.context import Service


def pin_job(service: Service, job_id: str, request: OrderRequest) -> Future[Decision[JobDetail]]:
    """Let every trial train with a batch size until it is unpinned.

    Raises:
        JobNotFound: There is no such job.
        UnknownBatchSize: The batch size is not one of the job's.
        InvalidInput: The power limit is none of the job's.
        Conflict: The batch size is known not to fit.
    """
    return service.change(
        service.job(job_id), lambda job, _: orders.order(job, "pin", request, service.now(), by=service.actor)
    )


def unpin_job(service: Service, job_id: str) -> Future[Decision[JobDetail]]:
    """Leave the choice to the policy again.

    Raises:
        JobNotFound: There is no such job.
    """
    return _withdraw(service, job_id, "pin")


def pause_job(service: Service, job_id: str, request: PauseRequest) -> Future[Decision[JobDetail]]:
    """Run the best known batch size until the job is resumed.

    Raises:
        JobNotFound: There is no such job.
    """
    return service.change(
        service.job(job_id), lambda job, _: orders.pause(job, request, service.now(), by=service.actor)
    )


def resume_job(service: Service, job_id: str) -> Future[Decision[JobDetail]]:
    """Let the policy explore again.

    Raises:
        JobNotFound: There is no such job.
    """
    return _withdraw(service, job_id, "pause")


def force_job(service: Service, job_id: str, request: OrderRequest) -> Future[Decision[JobDetail]]:
    """Let the next trial train with a batch size, once; see :func:`pin_job` for what it raises."""
    return service.change(
        service.job(job_id), lambda job, _: orders.order(job, "force", request, service.now(), by=service.actor)
    )


def unforce_job(service: Service, job_id: str) -> Future[Decision[JobDetail]]:
    """Withdraw a forced trial that has not started yet.

    Raises:
        JobNotFound: There is no such job.
    """
    return _withdraw(service, job_id, "force")


def _withdraw(service: Service, job_id: str, kind: orders.Kind) -> Future[Decision[JobDetail]]:
    return service.change(service.job(job_id), lambda job, _: orders.withdraw(job, kind, service.now()))
