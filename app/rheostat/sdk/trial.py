"""One run of a job, as its trainer sees it: what to train with, and whether to go on."""

import logging
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self, SupportsFloat, TypeVar

from rheostat.errors import ConfigurationError, RheostatError
from rheostat.schemas.server import (
    Action,
    Gpu,
    JobSettings,
    PowerLimitAnswer,
    PowerLimitMeasurement,
    PredictRequest,
    Trial,
)
from rheostat.sdk.fallback import default_batch_size, learning_rate
from rheostat.sdk.gpu_lease import GpuLease
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.profiling import Profiler
from rheostat.sdk.ranks import Ranks, ranks_of_this_run
from rheostat.sdk.reporter import Reporter
from rheostat.sdk.step_clock import StepClock
from rheostat.sdk.survey import NamedGpus, Survey, survey

if TYPE_CHECKING:
    from rheostat.sdk.client import Client

T = TypeVar("T")

_log = logging.getLogger("rheostat")


@dataclass(frozen=True, slots=True)
class Run:
    """What a trainer says of one run; see :meth:`rheostat.sdk.client.Client.trial`."""

    gpu: Gpu | None
    gpus: NamedGpus = None
    node: str | None = None
    max_batch_size: int | None = None
    idempotency_key: str | None = None
    node_agent: NodeAgent | None = None


@dataclass(frozen=True, slots=True)
class _Start:
    """What rank 0 was told, for all ranks."""

    trial: Trial | None = None
    mistake: str | None = None


class RunningTrial:
    """The context of one run: asks on entry, reports inside, and says at the end how the run ended.

    It fails open. Without a server the run trains with the default batch size and no power limit; without an agent
    no limit is changed and no energy known. A server that is lost on the way neither stops nor delays the run:
    reports wait on disk, and arrive when it is back.

    Under `torch.distributed` every rank enters the block and makes the same calls; rank 0 asks and reports.

    Attributes:
        batch_size: Global batch size to train with.
        learning_rate: Learning rate to train with; None when the job names none.
        power_limit_watts: Limit of each GPU; None when none is known, or there is no server.
        profile_power_limits_watts: Limits to measure, in order, and to pass to :meth:`measured`; :meth:`steps` does
            that by itself.
        reason: Why this batch size.
        trial_id: The server's name of the trial; None without a server.

    Raises:
        ServerRefused: On entry, when the job was registered with other settings, or a setting is wrong.
        ConfigurationError: On entry, when a GPU that was named is not there, or ranks do not know each other yet.
    """

    def __init__(self, client: "Client", job_id: str, settings: JobSettings, run: Run) -> None:
        self._job_id = job_id
        self._run = run
        self.batch_size = default_batch_size(settings, run.max_batch_size)
        self.learning_rate = learning_rate(settings, self.batch_size)
        self.power_limit_watts: int | None = None
        self.profile_power_limits_watts: tuple[int, ...] = ()
        self.reason = "the default: there was no answer from the server"
        self.trial_id: str | None = None
        self._reporter = Reporter(client, job_id, settings, self.batch_size)
        self._agent = run.node_agent or NodeAgent()
        self._clock = StepClock()
        self._lease: GpuLease | None = None
        self._has_leases = self._own_meter = False
        self._profiler: Profiler | None = None

    def __enter__(self) -> Self:
        # One channel for what ranks do when the trainer calls, one for what they do in the background.
        self._ranks: Ranks = ranks_of_this_run()
        self._profiling_ranks: Ranks = ranks_of_this_run()
        self._survey: Survey = survey(self._agent, self._ranks, self._run.gpu, self._run.gpus)
        mistake: RheostatError | None = None
        start = _Start()
        if self._ranks.rank == 0:
            try:
                start = _Start(self._ask())
            except RheostatError as error:
                mistake, start = error, _Start(mistake=str(error))
        start = self._ranks.broadcast(start)
        if start.mistake is not None:
            raise mistake or ConfigurationError(start.mistake)
        if start.trial is not None:
            self._take(start.trial)
        self._lease_gpus()
        self._reporter.begin()
        return self

    def _ask(self) -> Trial | None:
        if self._survey.gpu is None:
            why = self._survey.problem or ConfigurationError("No GPU is known.", hint="Pass gpu=Gpu(...).")
            self._reporter.warn_once("Training starts without the server, with the default batch size", why)
            return None
        request = PredictRequest(gpu=self._survey.gpu, node=self._run.node, max_batch_size=self._run.max_batch_size)
        return self._reporter.start(request, self._run.idempotency_key)

    def _take(self, trial: Trial) -> None:
        self.trial_id = trial.trial_id
        self.batch_size = trial.batch_size
        self.learning_rate = trial.learning_rate
        self.power_limit_watts = trial.power_limit_watts
        self.profile_power_limits_watts = tuple(trial.profile_power_limits_watts)
        self.reason = trial.reason

    def _lease_gpus(self) -> None:
        """Lease this node's GPUs, where this rank is the one to do it, and train under the limit that is known."""
        problem = self._survey.problem
        if self._survey.gpus:
            try:
                self._lease = GpuLease(self._agent, self._survey.gpus, self._job_id, self.trial_id)
            except RheostatError as error:
                problem = error
        if problem is not None:
            # Where nobody has set up an agent nobody needs to be told that there is none.
            expected = self._agent.is_named or self._agent.socket.exists()
            what = "Power limits are left alone and energy is not measured"
            _log.log(logging.WARNING if expected else logging.INFO, "%s: %s", what, problem)
        self._has_leases = any(self._ranks.gather(self._lease is not None))
        if self.power_limit_watts is not None:
            self.limit_power(self.power_limit_watts)

    @property
    def rank(self) -> int:
        """The number of this process among those that train together."""
        return self._ranks.rank

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return self._ranks.size

    @property
    def per_device_batch_size(self) -> int:
        """The share of the global batch size of this process, with one device each; the first ones have the rest."""
        share, rest = divmod(self.batch_size, self._ranks.size)
        return share + (self._ranks.rank < rest)

    @property
    def gpu_count(self) -> int:
        """How many GPUs train together; one where nobody knows them."""
        return 1 if self._survey.gpu is None else self._survey.gpu.count

    @property
    def energy_source(self) -> str | None:
        """Where this node's energy comes from, ``counter`` or ``power_samples``; None: it is not measured."""
        return None if self._lease is None else "counter" if self._lease.has_counters else "power_samples"

    def steps(self, loader: Iterable[T]) -> Iterator[T]:
        """Pass on what a loader gives, and measure power limits between the steps, if the server wants that.

        An evaluation in the middle of it is noticed and left out.
        """
        self.begin_profiling(len(loader) if isinstance(loader, Sized) else None)
        return self._clock.steps_of(loader)

    def step(self) -> None:
        """Note the end of a training step, where :meth:`steps` does not fit; after :meth:`begin_profiling`."""
        self._clock.step()

    def pause(self) -> None:
        """Note that what follows, up to the next step, is not training."""
        self._clock.interrupt()

    def begin_profiling(self, steps_per_epoch: int | None) -> None:
        """Begin to measure power limits between steps; once is enough, and :meth:`steps` does it.

        Args:
            steps_per_epoch: Steps of an epoch; None when unknown.
        """
        limits = self.profile_power_limits_watts
        if self._profiler is not None or self.trial_id is None or not self._has_leases:
            return
        if not limits and self.power_limit_watts is None:
            return
        self.profile_power_limits_watts = ()
        self._profiler = Profiler(self._clock, self._lease, self._profiling_ranks, self._tell_measured, steps_per_epoch)
        self._profiler.start(self.power_limit_watts, limits)

    def limit_power(self, power_limit_watts: float) -> bool:
        """Limit this node's GPUs until the block ends; tells whether the limit is in force."""
        if self._lease is None:
            return False
        try:
            return self._lease.limit(power_limit_watts)
        except RheostatError as error:
            self._reporter.warn_once("Training goes on without the power limit", error)
            return False

    def report(
        self,
        metric: SupportsFloat,
        *,
        epoch: float | None = None,
        energy_joules: SupportsFloat | None = None,
        time_seconds: SupportsFloat | None = None,
    ) -> Action:
        """Report an evaluation and return whether to go on.

        Args:
            metric: Value of the target metric. What is not finite is reported as unknown, here and below.
            epoch: Epochs done, fractional inside an epoch; by default one more than last time.
            energy_joules: Energy of all GPUs since the run began; by default what the agents measured, if they did.
            time_seconds: Training time since the run began; by default the time since the block was entered.
        """
        self._clock.interrupt()
        self._own_meter = energy_joules is not None
        energy = self.energy_joules() if energy_joules is None else energy_joules
        answer: tuple[Action, int | None] = ("continue", None)
        if self._ranks.rank == 0:
            answer = self._reporter.report(metric, epoch, energy, time_seconds)
        action, limit_watts = self._ranks.broadcast(answer)
        before, self.power_limit_watts = self.power_limit_watts, limit_watts or self.power_limit_watts
        is_measuring = self._profiler is not None and self._profiler.is_running
        if self.power_limit_watts not in (None, before) and not is_measuring:
            self.limit_power(self.power_limit_watts)
        return action

    def energy_joules(self) -> float | None:
        """Return the energy of all nodes since the run began; None when that of one is unknown. Every rank must ask."""
        own: float | None = 0.0
        if self._survey.leads:
            own = None if self._lease is None else self._lease.energy_joules()
        total = 0.0
        for joules in self._ranks.gather(own):
            if joules is None:
                return None
            total += joules
        return total

    def measured(self, measurements: Sequence[PowerLimitMeasurement]) -> int | None:
        """Report power limits that you measured; return the limit to train under, or None when none is known yet.

        Of several ranks, it is rank 0 whose figures are reported.

        What is left to measure, if anything, is then in ``profile_power_limits_watts``.
        """
        self.profile_power_limits_watts = ()
        answer = self._ranks.broadcast(self._tell_measured(measurements) if self._ranks.rank == 0 else None)
        if answer is None:
            return None
        self.power_limit_watts = answer.power_limit_watts
        self.profile_power_limits_watts = tuple(answer.profile_power_limits_watts)
        return answer.power_limit_watts

    def _tell_measured(self, measurements: Sequence[PowerLimitMeasurement]) -> PowerLimitAnswer | None:
        answer = self._reporter.measured(measurements)
        if answer is not None:
            self.power_limit_watts = answer.power_limit_watts
        return answer

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        energy_joules = None
        try:
            if self._profiler is not None:
                self._profiler.close()
            if self._lease is not None:
                if self._ranks.size == 1 and not self._own_meter:
                    energy_joules = self._lease.energy_joules()
                self._lease.close()  # first of all: nobody shall wait for the GPUs while the server is called
        finally:
            if self._ranks.rank == 0:
                self._reporter.close(error, energy_joules)
            if self._run.node_agent is None:
                self._agent.close()
