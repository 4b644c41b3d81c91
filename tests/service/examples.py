"""A job, GPUs, and what trainers do, for the service's tests."""

from datetime import UTC, datetime, timedelta
from typing import Any

from rheostat import service as use_cases
from rheostat.schemas.server import (
    Gpu,
    JobSettings,
    ObserveAnswer,
    ObservePowerLimitRequest,
    ObserveRequest,
    PowerLimitAnswer,
    PowerLimitMeasurement,
    PredictRequest,
    Trial,
)
from rheostat.service import Service

LEASE = timedelta(minutes=10)
JOB = "nightly"
V100 = Gpu(model="V100", count=1, min_power_limit_watts=100, max_power_limit_watts=250)
A40 = Gpu(model="A40", count=2, min_power_limit_watts=100, max_power_limit_watts=300)


class Clock:
    """A clock that stands still until it is turned."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def turn(self, step: timedelta) -> None:
        self.time += step


def settings(**changes: Any) -> JobSettings:
    """Return a job of five batch sizes around 32 that is to reach 0.9 within 10 epochs, but for the changes.

    Its policy is the baseline, whose decisions are few words to foretell.
    """
    usual: dict[str, Any] = {
        "batch_sizes": [8, 16, 32, 64, 128],
        "default_batch_size": 32,
        "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"},
        "max_epochs": 10,
        "seed": 1,
        "policy": "zeus",
    }
    return JobSettings.model_validate(usual | changes)


def register(service: Service, job_id: str = JOB, **changes: Any) -> None:
    use_cases.register_job(service, job_id, settings(**changes))


def predict(service: Service, gpu: Gpu = V100, key: str | None = None, **request: Any) -> Trial:
    return use_cases.predict(service, JOB, PredictRequest(gpu=gpu, **request), key)


def report(service: Service, trial: Trial, epoch: float, **figures: Any) -> ObserveAnswer:
    return use_cases.observe(service, trial.trial_id, ObserveRequest(epoch=epoch, **figures))


def converge(service: Service, trial: Trial, joules: float, seconds: float | None = None) -> ObserveAnswer:
    """Report that a trial reached its target in one epoch."""
    seconds = joules / 100 if seconds is None else seconds
    return report(service, trial, 1, metric=0.95, energy_joules=joules, time_seconds=seconds)


def recur(service: Service, joules: dict[int, float]) -> int:
    """Run one trial that converges at its batch size's energy, and return that batch size."""
    trial = predict(service)
    converge(service, trial, joules[trial.batch_size])
    return trial.batch_size


def measure(service: Service, batch_size: int, gpu: Gpu = V100, **epoch_joules: float) -> PowerLimitAnswer:
    """Report measured limits, as `measure(service, 32, w250=100.0, w200=90.0)`: joules of an epoch of one second."""
    measurements = [
        PowerLimitMeasurement(
            power_limit_watts=int(limit[1:]), time_seconds=1.0, energy_joules=joules, steps=10, steps_per_epoch=10
        )
        for limit, joules in epoch_joules.items()
    ]
    request = ObservePowerLimitRequest(batch_size=batch_size, gpu=gpu, measurements=measurements)
    return use_cases.observe_power_limit(service, JOB, request)
