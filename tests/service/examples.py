"""What trainers do, for the service's tests."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from rheostat import service as use_cases
from rheostat.domain.history import History
from rheostat.domain.job import Job
from rheostat.schemas.power import ObservePowerLimitRequest, PowerLimitAnswer
from rheostat.schemas.server import Gpu
from rheostat.schemas.trials import ObserveAnswer, ObserveRequest, PredictRequest, Trial
from rheostat.service import Decision, Service
from rheostat.service.operations import finish_deletion
from tests.domain.examples import JOB, V100, Clock, ExampleJob, measurements_of, settings

A = TypeVar("A")


def done(change: Future[Decision[A]]) -> A:
    """Return the answer of a change once it is durable."""
    return change.result(60).answer


class ServedJob(ExampleJob):
    """The example job as a service keeps it.

    Args:
        service: The service; it gets the job.
        changes: What differs from the usual settings.
    """

    def __init__(self, service: Service, **changes: Any) -> None:
        super().__init__(**changes)
        # One clock for both: leases that end too late by the service's are taken back.
        assert isinstance(service.now, Clock)
        service.now.time = self.clock.time
        self.clock = service.now
        self._service = service
        register(service, **changes)

    def change(self, decide: Callable[[Job, History], Decision[A]]) -> A:
        return done(self._service.change(self._service.job(JOB), decide))

    def read(self, work: Callable[[Job, History], A]) -> A:
        return self._service.jobs.read(self._service.job(JOB), work)


def register(service: Service, job_id: str = JOB, **changes: Any) -> None:
    done(use_cases.register_job(service, job_id, settings(**changes)))


def delete(service: Service) -> None:
    """Delete the job with all its rows."""
    done(use_cases.delete_job(service, JOB, force=True))
    finish_deletion(service)


def predict(service: Service, gpu: Gpu = V100, key: str | None = None, job_id: str = JOB, **request: Any) -> Trial:
    return done(use_cases.predict(service, job_id, PredictRequest(gpu=gpu, **request), key))


def report(service: Service, trial: Trial, epoch: float, **figures: Any) -> ObserveAnswer:
    return done(use_cases.observe(service, trial.trial_id, ObserveRequest(epoch=epoch, **figures)))


def restarted(service: Service) -> Service:
    """Return a service over the same database that has nothing in its cache."""
    return Service.of(service.database, service.lease, service.now)


def converge(service: Service, trial: Trial, joules: float, seconds: float | None = None) -> ObserveAnswer:
    """Report that a trial reached its target in one epoch."""
    seconds = joules / 100 if seconds is None else seconds
    return report(service, trial, 1, metric=0.95, energy_joules=joules, time_seconds=seconds)


def recur(service: Service, joules: dict[int, float]) -> int:
    """Run one trial that converges at its batch size's energy, and return that batch size."""
    trial = predict(service)
    converge(service, trial, joules[trial.batch_size])
    return trial.batch_size


def measure(
    service: Service, batch_size: int, gpu: Gpu = V100, key: str | None = None, **epoch_joules: float
) -> PowerLimitAnswer:
    """Report measured limits; see :func:`tests.domain.examples.measurements_of`."""
    request = ObservePowerLimitRequest(batch_size=batch_size, gpu=gpu, measurements=measurements_of(**epoch_joules))
    return done(use_cases.observe_power_limit(service, JOB, request, key))
