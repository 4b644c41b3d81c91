"""A job in memory, GPUs, and what trainers do: for tests of decisions, and for those of the layers around them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from rheostat.domain import evidence, insight, power, registration, surveys, trials
from rheostat.domain.events import Event
from rheostat.domain.history import History
from rheostat.domain.job import NO_CHANGES, Decision, Job
from rheostat.domain.memory import JobInMemory
from rheostat.domain.records import AuditNote
from rheostat.schemas.insight import Estimate, PlacementEstimates, PlacementSavings
from rheostat.schemas.nodes import NodeReport
from rheostat.schemas.power import (
    ObservePowerLimitRequest,
    PowerLimitAnswer,
    PowerLimitMeasurement,
    PredictPowerLimitRequest,
    SurveyAnswer,
    SurveyRequest,
)
from rheostat.schemas.server import Gpu, JobDetail, JobSettings, JobUpdate
from rheostat.schemas.trials import (
    HeartbeatAnswer,
    ObserveAnswer,
    ObserveRequest,
    ObserveRunRequest,
    PredictRequest,
    Trial,
    TrialDetail,
)

A = TypeVar("A")

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

    Its policy is the baseline, whose decisions are easy to predict.
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


def measurements_of(**epoch_joules: float) -> list[PowerLimitMeasurement]:
    """Return measured limits, as `measurements_of(w250=100.0, w200=90.0)`: joules of an epoch of one second."""
    return [
        PowerLimitMeasurement(
            power_limit_watts=int(limit[1:]), time_seconds=1.0, energy_joules=joules, steps=10, steps_per_epoch=10
        )
        for limit, joules in epoch_joules.items()
    ]


class ExampleJob:
    """A job with what trainers and operators do to it; a subclass may keep it elsewhere than in memory.

    Args:
        changes: What differs from the usual :func:`settings`.

    Attributes:
        clock: The time of all decisions.
        new: The job as it was registered.
        events: What all decisions gave as their events.
        audit: What all decisions noted for the audit trail.
        last_changes: What the last decision changed.
    """

    def __init__(self, **changes: Any) -> None:
        self.clock = Clock()
        self.new = registration.new_job(JOB, settings(**changes), seed=1, now=self.clock())
        self.events: list[Event] = []
        self.audit: list[AuditNote] = []
        self.last_changes = NO_CHANGES
        self._memory = JobInMemory(self.new)
        self._ids = 0

    def change(self, decide: Callable[[Job, History], Decision[A]]) -> A:
        """Keep what a decision changes, and return its answer."""

        def noted(job: Job, history: History) -> Decision[A]:
            decision = decide(job, history)
            self.events += decision.events
            self.audit += [] if decision.audit is None else [decision.audit]
            self.last_changes = decision.changes
            return decision

        return self._memory.change(noted)

    def read(self, work: Callable[[Job, History], A]) -> A:
        """Return what a function makes of the job and its history."""
        return work(self._memory.job, self._memory)

    @property
    def value(self) -> Job:
        """The job as it is now."""
        return self.read(lambda job, _: job)

    @property
    def detail(self) -> JobDetail:
        return registration.job_detail(self.value)

    def predict(self, gpu: Gpu = V100, key: str | None = None, **request: Any) -> Trial:
        trial_id = self._new_id()
        asked = PredictRequest(gpu=gpu, **request)
        return self.change(
            lambda job, history: trials.predict(
                job, history, asked, trial_id=trial_id, idempotency_key=key, clock=self._time()
            )
        )

    def report(self, trial: Trial, epoch: float, **figures: Any) -> ObserveAnswer:
        request = ObserveRequest(epoch=epoch, **figures)
        return self.change(lambda job, history: trials.observe(job, history, trial.trial_id, request, self._time()))

    def converge(self, trial: Trial, joules: float, seconds: float | None = None) -> ObserveAnswer:
        """Report that a trial reached its target in one epoch."""
        seconds = joules / 100 if seconds is None else seconds
        return self.report(trial, 1, metric=0.95, energy_joules=joules, time_seconds=seconds)

    def recur(self, joules: dict[int, float]) -> int:
        """Run one trial that converges at its batch size's energy, and return that batch size."""
        trial = self.predict()
        self.converge(trial, joules[trial.batch_size])
        return trial.batch_size

    def renew_lease(self, trial: Trial, nodes: Sequence[NodeReport] | None = None) -> HeartbeatAnswer:
        return self.change(lambda job, history: trials.renew_lease(job, history, trial.trial_id, self._time(), nodes))

    def show(self, trial: Trial) -> TrialDetail:
        return self.read(lambda job, history: trials.show(job, history, trial.trial_id, self.clock()))

    def import_run(self, batch_size: int, gpu: Gpu = V100, key: str | None = None, **figures: Any) -> float:
        """Record a whole run, and return its cost."""
        run_id = self._new_id()
        request = ObserveRunRequest(batch_size=batch_size, gpu=gpu, **figures)
        return self.change(
            lambda job, history: evidence.observe_run(
                job, history, request, run_id=run_id, idempotency_key=key, now=self.clock()
            )
        ).cost

    def measured(
        self, batch_size: int, gpu: Gpu, measurements: list[PowerLimitMeasurement], key: str | None = None
    ) -> PowerLimitAnswer:
        request = ObservePowerLimitRequest(batch_size=batch_size, gpu=gpu, measurements=measurements)
        return self.change(
            lambda job, history: power.observe_power_limit(job, history, request, idempotency_key=key, now=self.clock())
        )

    def measure(self, batch_size: int, gpu: Gpu = V100, **epoch_joules: float) -> PowerLimitAnswer:
        """Report measured limits; see :func:`measurements_of`."""
        return self.measured(batch_size, gpu, measurements_of(**epoch_joules))

    def out_of_memory(self, batch_size: int, gpu: Gpu = V100, key: str | None = None) -> PowerLimitAnswer:
        """Report that a survey found no room for a batch size."""
        request = ObservePowerLimitRequest(batch_size=batch_size, gpu=gpu, outcome="oom")
        return self.change(
            lambda job, history: power.observe_power_limit(job, history, request, idempotency_key=key, now=self.clock())
        )

    def survey(self, gpu: Gpu = V100, max_batch_size: int | None = None, key: str | None = None) -> SurveyAnswer:
        request = SurveyRequest(gpu=gpu, max_batch_size=max_batch_size)
        return self.change(lambda job, history: surveys.survey(job, history, request, self.clock(), key))

    def power_limit(self, batch_size: int = 32, gpu: Gpu = V100) -> PowerLimitAnswer:
        request = PredictPowerLimitRequest(batch_size=batch_size, gpu=gpu)
        return self.read(lambda job, _: power.predict_power_limit(job, request))

    def register_again(self, **changes: Any) -> JobDetail:
        detail, is_new = self.change(lambda job, _: registration.register_again(job, settings(**changes)))
        assert not is_new
        return detail

    def update(self, **changes: Any) -> JobDetail:
        request = JobUpdate.model_validate(changes)
        return self.change(lambda job, history: registration.update(job, history, request, self.clock()))

    def rebuild(self) -> int:
        return self.change(lambda job, history: registration.rebuild(job, history, self.clock()))

    def delete(self, *, force: bool) -> Decision[None]:
        """Return the decision to delete the job, which stays."""
        return registration.delete(self.value, force=force, now=self.clock())

    def estimates(self, placement: int = 0) -> PlacementEstimates:
        """Return the estimates of a placement."""
        return insight.estimates(self.value).placements[placement]

    def arms(self, placement: int = 0) -> dict[int, Estimate]:
        """Return the estimates of a placement by batch size."""
        return {arm.batch_size: arm for arm in self.estimates(placement).arms}

    def savings(self) -> PlacementSavings:
        """Return the savings on the first placement."""
        return self.read(insight.savings).placements[0]

    def _new_id(self) -> str:
        self._ids += 1
        return f"{self._ids:032x}"

    def _time(self) -> trials.Clock:
        return trials.Clock(self.clock(), LEASE)
