"""One run of a job, for its trainer: what to train with, and whether to go on."""

import logging
from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from threading import Thread
from types import TracebackType
from typing import Self, SupportsFloat, TypeVar

from rheostat.errors import ConfigurationError, RheostatError, ServerRefused
from rheostat.schemas.fields import Action
from rheostat.schemas.server import Gpu, JobSettings, PowerLimitAnswer, PowerLimitMeasurement, PredictRequest, Trial
from rheostat.sdk.gpu_lease import READ_ONLY_CODES, GpuLease
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.profiling import Profiler
from rheostat.sdk.ranks import Ranks, ranks_of_this_run
from rheostat.sdk.reporter import Reporter
from rheostat.sdk.run_gpus import NamedGpus, RunGpus, find_run_gpus
from rheostat.sdk.server import ServerClient
from rheostat.sdk.step_clock import StepClock
from rheostat.sdk.sweep import cheapest_limit

T = TypeVar("T")

_log = logging.getLogger("rheostat")


@dataclass(frozen=True, slots=True)
class TrialOptions:
    """The arguments of one run; see :meth:`rheostat.sdk.client.Client.trial`."""

    gpu: Gpu | None
    gpus: NamedGpus = None
    node: str | None = None
    max_batch_size: int | None = None
    idempotency_key: str | None = None
    node_agent: NodeAgent | None = None


@dataclass(frozen=True, slots=True)
class _Start:
    """The server's answer to rank 0, for all ranks."""

    trial: Trial | None = None
    mistake: str | None = None


class RunningTrial:
    """The context of one run: predicts on entry, reports inside the block, and reports at its end how the run ended.

    It fails open. Without a server the run trains with the default batch size and no power limit; without an agent
    limits stay as they are and the energy is unknown. When the server becomes unreachable later, the run neither stops
    nor waits: its reports are queued on disk and sent when the server is back.

    Under `torch.distributed` every rank enters the block and makes the same calls; rank 0 talks to the server.

    Attributes:
        batch_size: Global batch size to train with.
        learning_rate: Learning rate to train with; None when the job names none.
        power_limit_watts: Best limit of each GPU; None when it is unknown.
        profile_power_limits_watts: Limits to measure, in order, and to pass to :meth:`measured`; :meth:`steps` does
            that by itself.
        reason: Why this batch size.
        trial_id: The server's id of the trial; None without a server.

    Raises:
        ServerRefused: On entry, when the job was registered with other settings, or a setting is wrong.
        ConfigurationError: On entry, when a named GPU is not on the node, or `torch.distributed` is not initialised.
    """

    def __init__(self, client: ServerClient, job_id: str, settings: JobSettings, options: TrialOptions) -> None:
        self._job_id = job_id
        self._settings = settings
        self._options = options
        self.batch_size = settings.default_batch_size_within(options.max_batch_size)
        self.learning_rate = settings.learning_rate_for(self.batch_size)
        self.power_limit_watts: int | None = None
        self.profile_power_limits_watts: tuple[int, ...] = ()
        self.reason = "the default: the server did not answer"
        self.trial_id: str | None = None
        self._reporter = Reporter(client, job_id, settings, self.batch_size)
        self._agent = options.node_agent or NodeAgent()
        self._clock = StepClock()
        self._lease: GpuLease | None = None
        self._has_leases = self._own_meter = self._is_released = False
        self._released_joules: float | None = None
        self._profiler: Profiler | None = None

    def __enter__(self) -> Self:
        # One channel for the trainer's calls, one for profiling in the background.
        self._ranks: Ranks = ranks_of_this_run()
        self._profiling_ranks: Ranks = ranks_of_this_run()
        self._gpus: RunGpus = find_run_gpus(self._agent, self._ranks, self._options.gpu, self._options.gpus)
        mistake: RheostatError | None = None
        start = _Start()
        if self._ranks.rank == 0:
            try:
                start = _Start(self._predict())
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

    def _predict(self) -> Trial | None:
        if self._gpus.gpu is None:
            why = self._gpus.problem or ConfigurationError("The GPUs are unknown.", hint="Pass gpu=Gpu(...).")
            self._reporter.warn_once("Training starts without the server, with the default batch size", why)
            return None
        request = PredictRequest(
            gpu=self._gpus.gpu, node=self._options.node, max_batch_size=self._options.max_batch_size
        )
        return self._reporter.start(request, self._options.idempotency_key)

    def _take(self, trial: Trial) -> None:
        self.trial_id = trial.trial_id
        self.batch_size = trial.batch_size
        self.learning_rate = trial.learning_rate
        self.power_limit_watts = trial.power_limit_watts
        self.profile_power_limits_watts = tuple(trial.profile_power_limits_watts)
        self.reason = trial.reason

    def _lease_gpus(self) -> None:
        """Lease this node's GPUs, if this rank is the one that does, and set the best limit that is known."""
        problem = self._gpus.problem
        if self._gpus.to_lease:
            try:
                self._lease = GpuLease(self._agent, self._gpus.to_lease, self._job_id, self.trial_id)
            except RheostatError as error:
                problem = error
        if problem is not None:
            # On a node without an agent its absence is no warning.
            expected = self._agent.is_named or self._agent.has_socket
            what = "Power limits stay as they are and energy is not measured"
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
        """How many GPUs train together; one when they are unknown."""
        return 1 if self._gpus.gpu is None else self._gpus.gpu.count

    @property
    def energy_source(self) -> str | None:
        """How this node's energy is measured, ``counter`` or ``power_samples``; None: not at all."""
        return None if self._lease is None else "counter" if self._lease.has_counters else "power_samples"

    def steps(self, loader: Iterable[T]) -> Iterator[T]:
        """Yield the batches of a loader; power limits are measured between the steps if the server asks for it.

        An evaluation in between is detected and left out.
        """
        self.begin_profiling(len(loader) if isinstance(loader, Sized) else None)
        return self._clock.steps_of(loader)

    def step(self) -> None:
        """Record the end of a training step, where :meth:`steps` does not fit; after :meth:`begin_profiling`."""
        self._clock.step()

    def pause(self) -> None:
        """Record that what follows, up to the next step, is not training."""
        self._clock.interrupt()

    def begin_profiling(self, steps_per_epoch: int | None) -> None:
        """Begin to measure power limits between steps; call it once, unless :meth:`steps` does it.

        Args:
            steps_per_epoch: Steps of an epoch; None when unknown.
        """
        limits = self.profile_power_limits_watts
        if self._profiler is not None or self.trial_id is None or not self._has_leases:
            return
        if not limits and self.power_limit_watts is None:
            return
        self.profile_power_limits_watts = ()
        self._profiler = Profiler(
            self._clock,
            self._lease,
            self._profiling_ranks,
            self._send_measurements,
            steps_per_epoch,
            choose=self.cheapest_power_limit,
        )
        self._profiler.start(self.power_limit_watts, limits)

    def limit_power(self, power_limit_watts: float) -> bool:
        """Limit this node's GPUs until the block ends; return whether the limit is in force."""
        if self._lease is None or self._is_released:
            return False
        try:
            return self._lease.limit(power_limit_watts)
        except RheostatError as error:
            if isinstance(error, ServerRefused) and error.server_code in READ_ONLY_CODES:
                _log.info("Power limits stay as they are: %s", error)
            else:
                self._reporter.warn_once("Training goes on without the power limit", error)
            return False

    def try_power_limit(self, power_limit_watts: int) -> bool:
        """Limit this node's GPUs as :meth:`limit_power` does, to measure the limit; :meth:`settle_power_limit` ends it.

        Raises:
            RheostatError: It cannot be set.
        """
        return self._lease is not None and self._lease.try_limit(power_limit_watts)

    def settle_power_limit(self, best_watts: int | None) -> None:
        """Train on under the best limit, or where it is unknown under the one found, as soon as the agent answers."""
        if self._lease is None:
            return
        try:
            self._lease.settle(best_watts)
        except RheostatError as error:
            _log.info("The power limit stays as it is for now: %s", error)
            name = "rheostat-power-limit"
            Thread(target=self._lease.settle_until, args=(best_watts,), name=name, daemon=True).start()

    def cheapest_power_limit(self, measurements: Sequence[PowerLimitMeasurement]) -> int | None:
        """Return the best of some limits by this job's settings; None: it is unknown."""
        gpu = self._gpus.gpu
        return None if gpu is None else cheapest_limit(measurements, self._settings, gpu)

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
            metric: Value of the target metric. A value that is not finite is reported as unknown, here and below.
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
        """Return the energy of all nodes since the run began; None when one is unknown. Every rank must call it."""
        own: float | None = 0.0
        if self._gpus.leads:
            own = None if self._lease is None or self._is_released else self._lease.energy_joules()
            if self._is_released:  # perhaps by another thread since, and the agent measures no more
                own = self._released_joules
        total = 0.0
        for joules in self._ranks.gather(own):
            if joules is None:
                return None
            total += joules
        return total

    def measured(self, measurements: Sequence[PowerLimitMeasurement]) -> int | None:
        """Report power limits that you measured; return the best limit, or None while it is unknown.

        Of several ranks, rank 0's figures are reported. What is left to measure is then in
        ``profile_power_limits_watts``.
        """
        self.profile_power_limits_watts = ()
        answer = self._ranks.broadcast(self._send_measurements(measurements) if self._ranks.rank == 0 else None)
        if answer is None:
            return None
        self.power_limit_watts = answer.power_limit_watts
        self.profile_power_limits_watts = tuple(answer.profile_power_limits_watts)
        return answer.power_limit_watts

    def _send_measurements(self, measurements: Sequence[PowerLimitMeasurement]) -> PowerLimitAnswer | None:
        answer = self._reporter.measured(measurements)
        if answer is not None:
            self.power_limit_watts = answer.power_limit_watts
        return answer

    def release_gpus(self) -> None:
        """End profiling and this node's lease now, before the block ends: the limits found are restored.

        The energy stays as it is at this moment.
        """
        if self._is_released:
            return
        try:
            if self._profiler is not None:
                self._profiler.close()
        finally:
            if self._lease is not None:
                self._released_joules = self._lease.energy_joules()
            self._is_released = True
            if self._lease is not None:
                self._lease.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.release_gpus()  # first, so that the GPUs are free while the server is called
        finally:
            if self._ranks.rank == 0:
                counts = self._ranks.size == 1 and not self._own_meter
                self._reporter.close(error, self._released_joules if counts else None)
            if self._options.node_agent is None:
                self._agent.close()
