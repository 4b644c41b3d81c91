"""Measures power limits between training steps, in the background; the step only records a time stamp.

A thread of rank 0 leads: it sends each command to all ranks, sets a limit, waits until enough steps have passed, and
gathers the time and energy that they took. The other ranks' threads follow its commands, each with its own clock and
its own GPUs; steps are identified by their number, which is the same on all ranks.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Thread
from time import monotonic, monotonic_ns, sleep

from rheostat.errors import GpuCallFailed, RheostatError
from rheostat.schemas.server import PowerLimitAnswer, PowerLimitMeasurement
from rheostat.sdk.gpu_lease import GpuLease, TotalUsage, add_up
from rheostat.sdk.ranks import Ranks
from rheostat.sdk.slices import BY_COUNTER, BY_POWER_SAMPLES, MeasuredSteps, Stretch, find_stretches
from rheostat.sdk.step_clock import StepClock

_log = logging.getLogger("rheostat")

_POLL_SECONDS = 0.05
_LAGGARD_SECONDS = 10.0
_TRIES = 3
_FEWEST_FOR_A_RECHECK = 3
_INVALIDATING_REASONS = frozenset({"thermal", "hardware"})
# A limit so far above the mean draw is not reached by its peaks either; further where throttle reasons are unknown.
_MARGIN, _MARGIN_REASONS_UNKNOWN = 1.1, 1.25

SendMeasurements = Callable[[Sequence[PowerLimitMeasurement]], PowerLimitAnswer | None]
"""Reports measurements to the server; None: there is no answer."""


@dataclass(frozen=True, slots=True)
class _SetLimit:
    watts: int


@dataclass(frozen=True, slots=True)
class _Measure:
    watts: int
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True)
class _Reply:
    """A rank's reply to a command; a rank without a lease has no GPUs of its own to report."""

    problem: str | None = None
    is_cut: bool = False
    has_counters: bool = True
    time_seconds: float = 0.0
    gpus: int = 0
    usage: TotalUsage = field(default_factory=TotalUsage)


@dataclass(frozen=True, slots=True)
class _Slice:
    measurement: PowerLimitMeasurement
    watts_per_gpu: float
    is_capped: bool | None

    def does_not_bind(self, power_limit_watts: int) -> bool:
        """Return whether a lower limit would change nothing, because the GPUs draw less than it."""
        margin = {False: _MARGIN, None: _MARGIN_REASONS_UNKNOWN}.get(self.is_capped)
        return margin is not None and power_limit_watts >= margin * self.watts_per_gpu


class _TrialOver(Exception):
    """The trial has ended, so that no more steps follow."""


class Profiler:
    """Measures the power limits that the server asks for, in the background of one trial.

    Args:
        clock: Records the steps of this rank.
        lease: The GPUs that this rank leases; None: another rank of the node leases them, or none does.
        ranks: A channel that nothing else uses.
        send: Reports measurements to the server; called on rank 0.
        steps_per_epoch: Steps of an epoch; None when unknown.
    """

    def __init__(
        self,
        clock: StepClock,
        lease: GpuLease | None,
        ranks: Ranks,
        send: SendMeasurements,
        steps_per_epoch: int | None,
    ) -> None:
        self._clock = clock
        self._lease = lease
        self._ranks = ranks
        self._send = send
        self._steps_per_epoch = steps_per_epoch
        self._limit_set_ns = 0
        self._rules = BY_COUNTER
        self._over = Event()
        self._thread: Thread | None = None

    def start(self, power_limit_watts: int | None, profile_power_limits_watts: Sequence[int]) -> None:
        """Begin; every rank must.

        Args:
            power_limit_watts: The best limit where it is known: it is measured once more, at no cost.
            profile_power_limits_watts: Else what to measure, in order.
        """
        plan = list(profile_power_limits_watts)
        work = self._follow if self._ranks.rank else lambda: self._lead(power_limit_watts, plan)
        self._thread = Thread(target=self._guarded, args=(work,), name="rheostat-profiler", daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether limits are being changed."""
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> None:
        """Stop measuring."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(_LAGGARD_SECONDS)
        self._clock.stop()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # no failure here may disturb training
            _log.warning("Profiling of power limits ends: %s", error)
        finally:
            self._clock.stop()

    def _follow(self) -> None:
        nothing: _SetLimit | _Measure | None = None
        while (command := self._ranks.broadcast(nothing)) is not None:
            self._ranks.gather(self._execute(command))

    def _lead(self, known_watts: int | None, plan: list[int]) -> None:
        try:
            if known_watts is not None:
                self._confirm(known_watts)
            else:
                self._sweep(plan)
        except _TrialOver:
            _log.debug("the trial ended while power limits were measured")
        finally:
            self._ranks.broadcast(None)

    def _confirm(self, known_watts: int) -> None:
        self._set_best(known_watts)
        if (measured := self._measure(known_watts)) is None:
            return
        answer = self._send([measured.measurement])
        if answer is not None and answer.power_limit_watts not in (None, known_watts):
            self._set_best(answer.power_limit_watts)

    def _sweep(self, plan: list[int]) -> None:
        """Measure what the server asks for, from the highest limit down, until it knows the best one."""
        first: _Slice | None = None
        slices, given_up = 0, set[int]()
        best: int | None = None
        while plan:
            limit = plan[0]
            measured = self._measure(limit)
            if measured is None:
                given_up.add(limit)
                plan = plan[1:]
                continue
            first, slices = first or measured, slices + 1
            alike = [lower for lower in plan[1:] if measured.does_not_bind(lower)]
            answer = self._send(
                [measured.measurement.model_copy(update={"power_limit_watts": watts}) for watts in [limit, *alike]]
            )
            if answer is None:
                break
            best = answer.power_limit_watts
            plan = [watts for watts in answer.profile_power_limits_watts if watts not in given_up]
        if first is None:
            return
        if best is not None and slices >= _FEWEST_FOR_A_RECHECK:
            best = self._recheck(first.measurement.power_limit_watts, best)
        self._set_best(first.measurement.power_limit_watts if best is None else best)

    def _recheck(self, first_watts: int, best: int) -> int:
        """Measure the first limit again, now that the GPU is as warm as it was at the others."""
        measured = self._measure(first_watts)
        answer = None if measured is None else self._send([measured.measurement])
        return best if answer is None or answer.power_limit_watts is None else answer.power_limit_watts

    def _set_best(self, watts: int | None) -> None:
        if watts is not None:
            self._command(_SetLimit(watts))

    def _measure(self, watts: int) -> _Slice | None:
        """Measure a limit; None when it cannot be set, or every try was invalid.

        Raises:
            RheostatError: Limits can no longer be set, or the energy is unknown.
            _TrialOver: The trial ended meanwhile.
        """
        usage = TotalUsage()
        for _ in range(_TRIES):
            replies = self._command(_SetLimit(watts))
            if any(reply.is_cut for reply in replies):
                return None
            self._rules = BY_COUNTER if all(reply.has_counters for reply in replies) else BY_POWER_SAMPLES
            steps = self._enough_steps()
            replies = self._command(_Measure(watts, steps.stretches))
            usage = add_up(reply.usage for reply in replies)
            invalid_by = _INVALIDATING_REASONS & (usage.throttle_reasons or frozenset())
            if usage.energy_joules is not None and not invalid_by:
                return self._slice(watts, steps, replies, usage)
            why = f"{' and '.join(sorted(invalid_by))} slowdown" if invalid_by else "unknown energy"
            _log.info("%d W is measured again: %s", watts, why)
        if usage.energy_joules is None:
            raise GpuCallFailed("The energy of the GPUs is unknown.")
        return None

    def _slice(self, watts: int, steps: MeasuredSteps, replies: Sequence[_Reply], usage: TotalUsage) -> _Slice:
        time_seconds = max(reply.time_seconds for reply in replies)
        measurement = PowerLimitMeasurement(
            power_limit_watts=watts,
            time_seconds=time_seconds,
            energy_joules=usage.energy_joules,
            steps=steps.count,
            steps_per_epoch=self._steps_per_epoch,
        )
        return _Slice(
            measurement,
            watts_per_gpu=(usage.energy_joules or 0.0) / time_seconds / sum(reply.gpus for reply in replies),
            is_capped=None if usage.throttle_reasons is None else "power_cap" in usage.throttle_reasons,
        )

    def _enough_steps(self) -> MeasuredSteps:
        while not self._over.wait(_POLL_SECONDS):
            steps = find_stretches(self._clock.recorded(), self._limit_set_ns, self._rules)
            if self._rules.is_enough(steps.intervals_seconds):
                return steps
        raise _TrialOver

    def _command(self, command: _SetLimit | _Measure) -> list[_Reply]:
        """Execute a command on every rank.

        Raises:
            RheostatError: One of them failed.
        """
        self._ranks.broadcast(command)
        replies = self._ranks.gather(self._execute(command))
        for reply in replies:
            if reply.problem is not None:
                raise GpuCallFailed(reply.problem)
        return replies

    def _execute(self, command: _SetLimit | _Measure) -> _Reply:
        try:
            if isinstance(command, _SetLimit):
                return self._set_limit(command.watts)
            return self._usage(command)
        except RheostatError as error:
            return _Reply(problem=str(error))

    def _set_limit(self, watts: int) -> _Reply:
        is_cut = self._lease is not None and not self._lease.limit(watts)
        self._limit_set_ns = monotonic_ns()
        self._clock.record()
        return _Reply(is_cut=is_cut, has_counters=self._lease is None or self._lease.has_counters)

    def _usage(self, command: _Measure) -> _Reply:
        """Return the time and energy of stretches of steps on this rank; the limit must still be in force."""
        windows = self._windows(command.stretches)
        time_seconds = sum(until - since for since, until in windows) / 1e9
        if self._lease is None:
            return _Reply(time_seconds=time_seconds)
        usage = add_up(self._lease.usage(since, until) for since, until in windows)
        if not self._lease.limit(command.watts):
            raise GpuCallFailed(f"{command.watts} W did not stay in force.")
        return _Reply(time_seconds=time_seconds, gpus=len(self._lease.gpus), usage=usage)

    def _windows(self, stretches: Sequence[Stretch]) -> list[tuple[int, int]]:
        """Return when stretches of steps began and ended on this rank, which may be a little behind rank 0."""
        give_up_at = monotonic() + _LAGGARD_SECONDS
        while monotonic() < give_up_at:
            ends = dict(self._clock.recorded().ends)
            if all(stretch.after_step in ends and stretch.last_step in ends for stretch in stretches):
                return [(ends[stretch.after_step], ends[stretch.last_step]) for stretch in stretches]
            sleep(_POLL_SECONDS)
        raise GpuCallFailed("A rank counts other steps than rank 0.")
