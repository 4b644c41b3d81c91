"""Who decides in a replay: a policy in this process, or a live server asked as a trainer asks it.

Both make the same decisions from the same seed. The in-process one plays the service's part call for call: it
counts the trials, knows which of them run, and lets the advisor register, choose, measure, assess and conclude
in the service's order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import uuid4

from rheostat.errors import InvalidInput
from rheostat.policy.advisor import Advisor, PowerAdvice, Stores
from rheostat.policy.cost import PowerMeasurement
from rheostat.policy.interface import Job, Policy, Situation, TrialState
from rheostat.policy.learning_curve import LearningCurve, Target
from rheostat.schemas.server import (
    Action,
    Gpu,
    JobSettings,
    ObservePowerLimitRequest,
    ObserveRequest,
    PowerLimitMeasurement,
    PredictRequest,
)
from rheostat.sdk.client import Client


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
    per_epoch: int


@dataclass(frozen=True, slots=True)
class Report:
    """A trial after an epoch; energy and time since it began."""

    epoch: int
    metric: float | None
    energy_joules: float
    time_seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of the trial by its report, and what it is to do."""

    state: TrialState
    action: Action


class Backend(Protocol):
    """The operations of a trainer, for one job on one GPU."""

    def predict(self) -> Launch:
        """Launch a trial."""

    def observe_power_limit(self, launch: Launch, measured: Slice) -> PowerAdvice:
        """Report a measured power limit; return the best one, or those to measure next."""

    def observe(self, launch: Launch, report: Report) -> Answer:
        """Report an epoch; return whether to go on."""


class InProcess:
    """A policy in this process, over state in dicts.

    Args:
        policy: The pair of optimizers.
        settings: What the job is registered with: a target, a seed and power limits among it.
        gpu: What it runs on.
        batch_sizes: Those that the GPU can run; None: all of the job's.
        beside: The same job on another GPU, whose knowledge it shares.
    """

    def __init__(
        self,
        policy: Policy,
        settings: JobSettings,
        gpu: Gpu,
        *,
        batch_sizes: Sequence[int] | None = None,
        beside: "InProcess | None" = None,
    ) -> None:
        assert settings.target is not None
        assert settings.seed is not None
        assert settings.power_limits_watts is not None
        target = settings.target
        lowest, highest = gpu.min_power_limit_watts, gpu.max_power_limit_watts
        self._permitted = tuple(settings.batch_sizes if batch_sizes is None else batch_sizes)
        self._running: dict[int, int] = {}
        self._curves: dict[int, LearningCurve] = {}
        # As in the service, trial_number is always that of the next launch, whatever is asked.
        self._job = Job(
            job_id="replay",
            gpu_model=gpu.model,
            gpu_count=gpu.count,
            default_batch_size=settings.default_batch_size,
            max_power_watts=float(gpu.max_power_limit_watts * gpu.count),
            power_limits_watts=tuple(
                watts for watts in reversed(settings.power_limits_watts) if lowest <= watts <= highest
            ),
            target=Target(target.metric, target.value, target.direction == "maximize"),
            max_epochs=settings.max_epochs,
            eta_knob=settings.eta_knob,
            beta_knob=settings.beta_knob,
            max_slowdown=settings.max_slowdown,
            window_size=settings.window_size,
            seed=settings.seed,
        )
        self._advisor: Advisor = Advisor(policy, Stores({}, {}, {})) if beside is None else beside._advisor
        self._advisor.register(self._job, settings.batch_sizes)

    def predict(self) -> Launch:
        """Launch a trial."""
        situation = Situation(self._permitted, pending=tuple(self._running.values()))
        batch_size = self._advisor.choose(self._job, situation).batch_size
        power = self._advisor.power(self._job, batch_size)
        number = self._job.trial_number
        self._running[number] = batch_size
        self._curves[number] = LearningCurve()
        self._job = replace(self._job, trial_number=number + 1)
        return Launch(str(number), number, batch_size, power)

    def observe_power_limit(self, launch: Launch, measured: Slice) -> PowerAdvice:
        """Scale a measured power limit to one epoch, and learn from it."""
        time = measured.time_seconds * measured.per_epoch
        energy = measured.energy_joules * measured.per_epoch
        cost = self._job.cost(energy, time)
        assert cost is not None
        measurement = PowerMeasurement(measured.power_limit_watts, cost, time, energy)
        self._advisor.measure(self._job, launch.batch_size, measurement)
        return self._advisor.power(self._job, launch.batch_size)

    def observe(self, launch: Launch, report: Report) -> Answer:
        """Assess an epoch; conclude the trial when that ends it."""
        cost = self._job.cost(report.energy_joules, report.time_seconds)
        curve = self._curves[launch.number].add(float(report.epoch), report.metric, self._job.target)
        verdict = self._advisor.assess(
            self._job,
            batch_size=launch.batch_size,
            epoch=float(report.epoch),
            metric=report.metric,
            cost=cost,
            curve=curve,
        )
        if verdict.state == "running":
            self._curves[launch.number] = curve
            return Answer("running", "continue")
        del self._running[launch.number], self._curves[launch.number]
        self._advisor.conclude(
            self._job,
            verdict.state,
            batch_size=launch.batch_size,
            cost=cost,
            epochs=float(report.epoch),
            curve=curve,
        )
        return Answer(verdict.state, "stop")


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

    def predict(self) -> Launch:
        """Launch a trial; asked twice, because an answer was lost on its way, the server launches one."""
        trial = self._client.predict(self._job_id, PredictRequest(gpu=self._gpu), idempotency_key=uuid4().hex)
        power = PowerAdvice(trial.power_limit_watts, tuple(trial.profile_power_limits_watts))
        return Launch(trial.trial_id, trial.number, trial.batch_size, power)

    def observe_power_limit(self, launch: Launch, measured: Slice) -> PowerAdvice:
        """Report a measured power limit."""
        measurement = PowerLimitMeasurement(
            power_limit_watts=measured.power_limit_watts,
            time_seconds=measured.time_seconds,
            energy_joules=measured.energy_joules,
            steps=1.0,
            steps_per_epoch=float(measured.per_epoch),
        )
        answer = self._client.observe_power_limit(
            self._job_id,
            ObservePowerLimitRequest(batch_size=launch.batch_size, gpu=self._gpu, measurements=[measurement]),
        )
        return PowerAdvice(answer.power_limit_watts, tuple(answer.profile_power_limits_watts))

    def observe(self, launch: Launch, report: Report) -> Answer:
        """Report an epoch."""
        answer = self._client.observe(
            launch.trial_id,
            ObserveRequest(
                epoch=float(report.epoch),
                metric=report.metric,
                energy_joules=report.energy_joules,
                time_seconds=report.time_seconds,
            ),
        )
        return Answer(answer.state, answer.action)
