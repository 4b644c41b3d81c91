"""One run of a job, for its trainer: what to train with, and whether to go on."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from functools import partial
from socket import gethostname
from time import monotonic_ns
from types import TracebackType
from typing import Self, SupportsFloat, TypeVar

from rheostat.schemas.fields import Action
from rheostat.schemas.power import PowerLimitAnswer, PowerLimitMeasurement
from rheostat.schemas.server import JobSettings
from rheostat.schemas.trials import Trial, TrialProgress
from rheostat.sdk.entry import Start, start_together
from rheostat.sdk.epoch_units import EpochLength
from rheostat.sdk.gpu_energy import Energy
from rheostat.sdk.gpu_lease import TotalUsage
from rheostat.sdk.hints import check_loader, check_profiled
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.options import TrialOptions
from rheostat.sdk.outside import report_outside
from rheostat.sdk.profiling import Profiler
from rheostat.sdk.ranks import Alone, Ranks, ranks_of_this_run
from rheostat.sdk.reporter import Reporter
from rheostat.sdk.run_gpus import RunGpus, find_run_gpus
from rheostat.sdk.run_status import RunStatus
from rheostat.sdk.seen_metrics import number_of
from rheostat.sdk.server import ServerClient
from rheostat.sdk.step_clock import StepClock
from rheostat.sdk.survey import OpenSteps, SurveyedJob, survey_gpus
from rheostat.sdk.sweep import cheapest_limit
from rheostat.sdk.trial_gpus import TrialGpus

T = TypeVar("T")

_COPIED = ("batch_size", "learning_rate", "power_limit_watts", "reason", "trial_id", "progress")
"""What a copy in another process has of a trial whose block was entered."""


class RunningTrial:
    """The context of one run: predicts on entry, reports inside the block, and reports at its end how the run ended.

    It fails open. Without a server the run trains with the default batch size and no power limit; without an agent
    limits stay as they are and the energy is unknown. When the server becomes unreachable later, the run neither stops
    nor waits: its reports are queued on disk and sent when the server is back.

    Under `torch.distributed` every rank enters the block and makes the same calls; rank 0 talks to the server. The
    block belongs to the process that entered it: in a child, forked or spawned, it has its values, and does nothing.

    Attributes:
        batch_size: Global batch size to train with.
        learning_rate: Learning rate to train with; None when the job names none.
        power_limit_watts: Best limit of each GPU; None when it is unknown.
        profile_power_limits_watts: Limits to measure, in order, and to pass to :meth:`measured`; :meth:`steps` does
            that by itself.
        reason: Why this batch size.
        trial_id: The server's id of the trial; None without a server.
        progress: What was reported before, where the trial goes on from another process; None: nothing was. It is
            added to what this process reports.
        converged: Whether the target is reached. A run that ends without it has no model to use.
        end_reason: Why the latest report was answered "stop"; None: none was.

    Raises:
        ServerRefused: On entry, when a setting is wrong.
        KeyReused: On entry, when the trial of the key has ended.
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
        self.reason = "the default: no server was asked yet"
        self.trial_id: str | None = None
        self.progress: TrialProgress | None = None
        self.converged = False
        self.end_reason: str | None = None
        self._client = client
        self._reporter = Reporter(client, job_id, settings, self.batch_size, options.answer_seconds)
        self._agent = options.node_agent or NodeAgent()
        self._clock = StepClock(self._first_step)
        self._own_meter = self._is_released = self._has_loader = self._has_measured = False
        self._profiler: Profiler | None = None
        self._steps_per_epoch: int | None = None
        self._process: int | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the arguments, and what the server answered if the block was entered."""
        options = replace(self._options, survey=None)  # a closure, usually
        arguments = self._client, self._job_id, self._settings, options
        if self._process is None:
            return RunningTrial, arguments
        gpus = replace(self._gpus.run, leads=False, to_lease=(), problem=None)
        return RunningTrial, arguments, ({name: getattr(self, name) for name in _COPIED}, gpus)

    def __setstate__(self, state: tuple[dict[str, object], RunGpus]) -> None:
        """Become the copy, in another process, of a trial whose block was entered: it has its values, and no rank."""
        values, gpus = state
        vars(self).update(values, _process=0, _ranks=Alone(), _gpus=self._with_gpus(gpus))

    def _with_gpus(self, found: RunGpus) -> TrialGpus:
        name = self._options.node or gethostname()
        return TrialGpus(name, self._agent, found, self._job_id, self._reporter.warn_once)

    @property
    def _is_ours(self) -> bool:
        """Whether this process has entered the block, and not one that it is a child or a copy of."""
        return self._process == os.getpid()

    def __enter__(self) -> Self:
        self._process = os.getpid()
        # One channel for the trainer's calls, one for profiling in the background.
        self._ranks: Ranks = ranks_of_this_run()
        self._profiling_ranks: Ranks = ranks_of_this_run()
        found = find_run_gpus(self._agent, self._ranks, self._options.gpu, self._options.gpus)
        self._gpus = self._with_gpus(found)
        start = start_together(self._ranks, self._predict)
        self._settings = start.settings or self._settings
        if start.trial is not None:
            self._take(start.trial)
        elif start.problem is not None:
            self.reason = f"the default: {start.problem}"
        self._gpus.hold(self.trial_id, self._ranks, chooses_batch_sizes=len(self._settings.batch_sizes) > 1)
        if self.power_limit_watts is not None:
            self.limit_power(self.power_limit_watts)
        self._gpus.meet(self._ranks)
        if self._ranks.rank == 0:
            self._reporter.nodes(self._gpus.nodes())
        self._reporter.begin()
        return self

    def _predict(self) -> Start:
        options, request = self._options, self._options.request(self._gpus.run.gpu)
        trial = self._reporter.start(
            request, options.idempotency_key, options.entry_seconds, options.on_conflict, survey=self._survey
        )
        problem = self._reporter.problem
        return Start(trial, self._reporter.settings, None if problem is None else problem.message)

    def survey_by(self, steps_at: OpenSteps) -> None:
        """Survey the batch sizes by steps of another kind than this process's own; before the block is entered."""
        self._options = replace(self._options, survey=steps_at)

    def _survey(self) -> None:
        options = self._options
        if options.survey is None or options.resumes is not None:  # a run that goes on has its batch size
            return
        self._settings = self._reporter.settings
        job = SurveyedJob(
            self._job_id,
            self._settings,
            self._gpus.run.gpu,
            options.max_batch_size,
            options.examples_per_epoch,
            ranks=self._ranks.size,
            idempotency_key=options.idempotency_key,
        )
        survey_gpus(self._client, job, partial(self._gpus.new_lease, None), options.survey)

    def _take(self, trial: Trial) -> None:
        self.trial_id = trial.trial_id
        self.batch_size = trial.batch_size
        self.learning_rate = trial.learning_rate
        self.power_limit_watts = trial.power_limit_watts
        self.profile_power_limits_watts = tuple(trial.profile_power_limits_watts)
        self.reason = trial.reason
        self.progress = trial.progress

    @property
    def settings(self) -> JobSettings:
        """By which it trains: inside the block those that the server has, if it answered."""
        return self._settings

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
        """How many GPUs train together."""
        return self._gpus.run.gpu.count

    @property
    def energy_source(self) -> str | None:
        """How this node's energy is measured: ``counter``, ``power_samples``, ``power_readings``; None: not at all."""
        return None if self._gpus.lease is None else self._gpus.lease.energy_source

    def steps(self, loader: Iterable[T]) -> Iterator[T]:
        """Yield the batches of a loader; power limits are measured between the steps if the server asks for it.

        An evaluation in between is detected and left out.
        """
        if self._is_ours and self._ranks.rank == 0 and not self._has_loader:
            check_loader(loader, self.batch_size, self.per_device_batch_size)
        self._has_loader = True
        self.begin_profiling(len(loader) if isinstance(loader, Sized) else None)
        return self._clock.steps_of(loader)

    def begin_step(self) -> None:
        """Record that a training step begins, where :meth:`steps` does not fit: what is before the first is set-up."""
        self._clock.begin()

    def _first_step(self, began_ns: int) -> None:
        if self._is_ours and self._ranks.rank == 0:
            energy = partial(self._gpus.own_energy, began_ns) if self._ranks.size == 1 else lambda: None
            self._reporter.first_step(began_ns, energy)

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
        self._steps_per_epoch = steps_per_epoch
        limits = self.profile_power_limits_watts
        if not self._is_ours or self._profiler is not None or self.trial_id is None or not self._gpus.are_leased:
            return
        if not limits and self.power_limit_watts is None:
            return
        self.profile_power_limits_watts = ()
        self._profiler = Profiler(
            self._clock,
            self._gpus.lease,
            self._profiling_ranks,
            self._send_measurements,
            steps_per_epoch,
            choose=self.cheapest_power_limit,
        )
        self._profiler.start(self.power_limit_watts, limits)

    def limit_power(self, power_limit_watts: float) -> bool:
        """Limit this node's GPUs until the block ends; return whether the limit is in force."""
        return self._is_ours and not self._is_released and self._gpus.limit(power_limit_watts)

    def try_power_limit(self, power_limit_watts: int) -> bool:
        """Limit this node's GPUs as :meth:`limit_power` does, to measure the limit; :meth:`settle_power_limit` ends it.

        Raises:
            RheostatError: It cannot be set.
        """
        self._has_measured = True
        return self._gpus.lease is not None and self._gpus.lease.try_limit(power_limit_watts)

    def settle_power_limit(self, best_watts: int | None) -> None:
        """Train on under the best limit, or where it is unknown under the one found, as soon as the agent answers."""
        if self._gpus.lease is not None:
            self._gpus.lease.settle_soon(best_watts)

    def cheapest_power_limit(self, measurements: Sequence[PowerLimitMeasurement]) -> int | None:
        """Return the best of some limits by this job's settings; None: it is unknown."""
        return cheapest_limit(measurements, self._settings, self._gpus.run.gpu)

    def resumed_at(self, epoch: float) -> None:
        """Record how many epochs the model had done when this process began to train, before the first report.

        Call it after a checkpoint was loaded, unless `Client.trial` was given it.
        """
        if self._is_ours and self._ranks.rank == 0:
            self._reporter.resumed_at(epoch)

    def report(
        self,
        metric: SupportsFloat,
        *,
        epoch: float | None = None,
        step: float | None = None,
        examples: float | None = None,
        energy_joules: SupportsFloat | None = None,
        time_seconds: SupportsFloat | None = None,
    ) -> Action:
        """Report an evaluation and return whether to go on.

        The report is sent in the background. It waits for the server's answer, for a bounded time; if there is none,
        later ones do not wait until the server is back.

        Args:
            metric: Value of the target metric: a number, or a tensor or array of one. A value that is not finite is
                reported as unknown, here and below.
            epoch: Epochs done, fractional inside an epoch; by default one more than last time.
            step: Steps done, instead; the length of an epoch is that of the loader in :meth:`steps`, or follows from
                the ``examples_per_epoch`` of `Client.trial`.
            examples: Examples or tokens done, instead, in the unit of ``examples_per_epoch``.
            energy_joules: Energy of all GPUs since this process began; by default what the agents measured.
            time_seconds: Training time since this process began; by default the time since the block was entered.

        Raises:
            ConfigurationError: The metric is not a number.
        """
        metric = number_of(metric)
        if not self._is_ours:
            return report_outside(self._process)
        length = EpochLength(self.batch_size, self._options.examples_per_epoch, self._steps_per_epoch)
        epoch = length.epochs(epoch=epoch, step=step, examples=examples)
        self._clock.interrupt()
        self._own_meter = energy_joules is not None
        energy = self._gpus.energy_at(monotonic_ns(), self._ranks) if energy_joules is None else energy_joules
        is_first = self._ranks.rank == 0
        status = self._ranks.broadcast(
            self._reporter.report(metric, epoch, energy, time_seconds) if is_first else RunStatus()
        )
        self.converged = status.has_converged
        if status.action == "stop":
            self.end_reason = status.reason
        if status.power_limit_watts is not None:
            self._take_limit(status.power_limit_watts)
        if self._ranks.rank == 0:
            self._reporter.nodes(self._gpus.nodes())
        return status.action

    def _take_limit(self, power_limit_watts: int) -> None:
        is_new = power_limit_watts != self.power_limit_watts
        if is_new and not (self._profiler is not None and self._profiler.is_running):
            if self._gpus.lease is not None and self._gpus.lease.is_silent:
                return  # the next report brings it again
            self.limit_power(power_limit_watts)
        self.power_limit_watts = power_limit_watts

    def energy_joules(self) -> float | None:
        """Return the energy of all nodes since the run began; None when one is unknown. Every rank must call it."""
        if not self._is_ours:
            return None
        energy = self._gpus.energy_at(monotonic_ns(), self._ranks)()
        return None if energy is None else energy.joules

    def usage(self, since_ns: int, until_ns: int) -> TotalUsage:
        """Return what this node's GPUs used between two moments of :func:`time.monotonic_ns`.

        Raises:
            RheostatError: The agent does not answer.
        """
        return TotalUsage(None, None) if self._gpus.lease is None else self._gpus.lease.usage(since_ns, until_ns)

    def measured(self, measurements: Sequence[PowerLimitMeasurement]) -> int | None:
        """Report power limits that you measured; return the best limit, or None while it is unknown.

        Of several ranks, rank 0's figures are reported. What is left to measure is then in
        ``profile_power_limits_watts``.
        """
        if not self._is_ours:
            return None
        self._has_measured, self.profile_power_limits_watts = True, ()
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
        if self._is_released or not self._is_ours:
            return
        self._is_released = True
        try:
            if self._profiler is not None:
                self._profiler.close()
        finally:
            if self._gpus.lease is not None:
                self._gpus.lease.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._is_ours:
            return
        try:
            self._quietly(self.release_gpus)  # first, so that the GPUs are free while the server is called
        finally:
            if self._ranks.rank == 0:
                if error is None and self._gpus.are_leased and not self._has_measured:
                    check_profiled(self.profile_power_limits_watts)
                self._quietly(lambda: self._reporter.close(error, self._final_energy()))
            if self._options.node_agent is None:
                self._agent.close()

    def _final_energy(self) -> Energy | None:
        is_whole = self._ranks.size == 1 and not self._own_meter
        return self._gpus.own_energy(monotonic_ns()) if is_whole else None

    def _quietly(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # no failure here may disturb training
            self._reporter.warn_once("The trial was not ended as it should", error)
