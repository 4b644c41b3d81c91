"""Who decides in a replay: this process, or a live server asked as a trainer asks it.

Both make the same decisions from the same seed: they call the same functions.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import uuid4

from rheostat.domain import power, surveys, trials
from rheostat.domain.job import Job
from rheostat.domain.memory import JobInMemory
from rheostat.domain.registration import new_job
from rheostat.domain.trials import Clock
from rheostat.errors import InvalidInput
from rheostat.policy.advisor import PowerAdvice
from rheostat.policy.interface import Policy, TrialState
from rheostat.schemas.power import (
    ObservePowerLimitRequest,
    PowerLimitAnswer,
    PowerLimitMeasurement,
    SurveyAnswer,
    SurveyRequest,
)
from rheostat.schemas.server import Gpu, JobSettings
from rheostat.schemas.trials import ObserveRequest, PredictRequest, Trial
from rheostat.sdk.client import Client

_CLOCK = Clock(datetime(2026, 1, 1, tzinfo=UTC), lease=timedelta(days=1))
"""In a replay no time passes, so no lease expires."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A trial as it is launched.

    Attributes:
        trial_id: Names it to the backend.
        number: Counts the job's trials from 1.
        batch_size: What it trains with.
        power: The power limit to train under, or those to measure first.
    """

    trial_id: str
    number: int
    batch_size: int
    power: PowerAdvice


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of an epoch, trained under one power limit.

    Attributes:
        power_limit_watts: The limit.
        time_seconds: How long it took.
        energy_joules: What it drew.
        per_epoch: How many such parts make an epoch.
    """

    power_limit_watts: int
    time_seconds: float
    energy_joules: float
    per_epoch: float


@dataclass(frozen=True, slots=True)
class Report:
    """A trial after an epoch; energy and time since it began."""

    epoch: int
    metric: float | None
    energy_joules: float
    time_seconds: float


@dataclass(frozen=True, slots=True)
class SurveySlice:
    """A slice of training that a survey asks for.

    Attributes:
        batch_size: What to train with.
        power_limit_watts: Under which limit.
        slice_seconds: How long it takes at most ...
        slice_epochs: ... and how large a share of an epoch at the default batch size.
    """

    batch_size: int
    power_limit_watts: int
    slice_seconds: float
    slice_epochs: float


class Backend(Protocol):
    """The operations of a trainer, for one job on one GPU."""

    def survey(self) -> SurveySlice | None:
        """Return what to measure next before the first trial; None: nothing more."""

    def observe_survey(self, wanted: SurveySlice, measured: Slice) -> None:
        """Report a slice of a survey."""

    def predict(self) -> Launch:
        """Launch a trial."""

    def observe_power_limit(self, launch: Launch, measured: Slice) -> PowerAdvice:
        """Report a measured power limit; return the best one, or those to measure next."""

    def observe(self, launch: Launch, report: Report) -> TrialState:
        """Report an epoch; return the trial's state: it continues as long as it is running."""


class InProcess:
    """The server's own decisions, about a job in this process.

    Args:
        settings: What the job is registered with, a seed among it.
        gpu: What it runs on.
        policy: The pair of optimizers; None: the one that the settings name.
        beside: The same job on another GPU: it counts its trials, and learns, together with this one.
    """

    def __init__(
        self, settings: JobSettings, gpu: Gpu, *, policy: Policy | None = None, beside: "InProcess | None" = None
    ) -> None:
        assert settings.seed is not None
        self._gpu = gpu
        job = new_job("replay", settings, settings.seed, _CLOCK.now)
        if policy is not None:
            job = replace(job, find_policy=lambda _: policy)
        self._job: JobInMemory = JobInMemory(job) if beside is None else beside._job

    @property
    def job(self) -> Job:
        """The job as it is now."""
        return self._job.job

    def survey(self) -> SurveySlice | None:
        """Return what to measure next."""
        request = SurveyRequest(gpu=self._gpu)
        return _next_slice(self._job.change(lambda job, history: surveys.survey(job, history, request, _CLOCK.now)))

    def observe_survey(self, wanted: SurveySlice, measured: Slice) -> None:
        """Report a slice of a survey."""
        self._measure(wanted.batch_size, measured)

    def predict(self) -> Launch:
        """Launch a trial."""
        request = PredictRequest(gpu=self._gpu)
        trial_id = uuid4().hex
        trial = self._job.change(
            lambda job, history: trials.predict(
                job, history, request, trial_id=trial_id, idempotency_key=None, clock=_CLOCK
            )
        )
        return _launch(trial)

    def observe_power_limit(self, launch: Launch, measured: Slice) -> PowerAdvice:
        """Report a measured power limit."""
        return _advice(self._measure(launch.batch_size, measured))

    def observe(self, launch: Launch, report: Report) -> TrialState:
        """Report an epoch."""
        request = _observe_request(report)
        answer = self._job.change(lambda job, history: trials.observe(job, history, launch.trial_id, request, _CLOCK))
        return answer.state

    def _measure(self, batch_size: int, measured: Slice) -> PowerLimitAnswer:
        request = _power_limit_request(batch_size, measured, self._gpu)
        return self._job.change(
            lambda job, history: power.observe_power_limit(job, history, request, idempotency_key=None, now=_CLOCK.now)
        )


class Server:
    """A live server, asked over HTTP.

    Args:
        client: Knows the server, and waits for it while it restarts.
        job_id: Name of the job, which must not have run before.
        settings: What to register it with.
        gpu: What it runs on.

    Raises:
        InvalidInput: The job has run before, so the replay would not start where the in-process one does.
    """

    def __init__(self, client: Client, job_id: str, settings: JobSettings, gpu: Gpu) -> None:
        self._client = client
        self._job_id = job_id
        self._gpu = gpu
        if client.register_job(job_id, settings).trials:
            raise InvalidInput(
                f"The job {job_id} has run on this server before, and a replay starts from nothing.",
                hint="Pass another --job-id, or delete that job.",
            )

    def survey(self) -> SurveySlice | None:
        """Return what to measure next."""
        return _next_slice(self._client.survey(self._job_id, SurveyRequest(gpu=self._gpu)))

    def observe_survey(self, wanted: SurveySlice, measured: Slice) -> None:
        """Report a slice of a survey."""
        self._client.observe_power_limit(self._job_id, _power_limit_request(wanted.batch_size, measured, self._gpu))

    def predict(self) -> Launch:
        """Launch a trial; asked twice, because an answer was lost on its way, the server launches one."""
        trial = self._client.predict(self._job_id, PredictRequest(gpu=self._gpu), idempotency_key=uuid4().hex)
        return _launch(trial)

    def observe_power_limit(self, launch: Launch, measured: Slice) -> PowerAdvice:
        """Report a measured power limit."""
        request = _power_limit_request(launch.batch_size, measured, self._gpu)
        return _advice(self._client.observe_power_limit(self._job_id, request))

    def observe(self, launch: Launch, report: Report) -> TrialState:
        """Report an epoch."""
        return self._client.observe(launch.trial_id, _observe_request(report)).state


def _launch(trial: Trial) -> Launch:
    power = PowerAdvice(trial.power_limit_watts, tuple(trial.profile_power_limits_watts))
    return Launch(trial.trial_id, trial.number, trial.batch_size, power)


def _advice(answer: PowerLimitAnswer) -> PowerAdvice:
    return PowerAdvice(answer.power_limit_watts, tuple(answer.profile_power_limits_watts))


def _next_slice(answer: SurveyAnswer) -> SurveySlice | None:
    if not answer.survey:
        return None
    step = answer.survey[0]
    return SurveySlice(step.batch_size, step.power_limits_watts[0], answer.slice_seconds, answer.slice_epochs)


def _power_limit_request(batch_size: int, measured: Slice, gpu: Gpu) -> ObservePowerLimitRequest:
    return ObservePowerLimitRequest(batch_size=batch_size, gpu=gpu, measurements=[_measurement(measured)])


def _measurement(measured: Slice) -> PowerLimitMeasurement:
    return PowerLimitMeasurement(
        power_limit_watts=measured.power_limit_watts,
        time_seconds=measured.time_seconds,
        energy_joules=measured.energy_joules,
        steps=1.0,
        steps_per_epoch=float(measured.per_epoch),
    )


def _observe_request(report: Report) -> ObserveRequest:
    return ObserveRequest(
        epoch=float(report.epoch),
        metric=report.metric,
        energy_joules=report.energy_joules,
        time_seconds=report.time_seconds,
    )
