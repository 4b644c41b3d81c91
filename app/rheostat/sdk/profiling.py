"""Measures power limits between training steps, in the background; the step only records a time stamp.

A thread of rank 0 leads: it sends each command to all ranks, sets a limit, waits until enough steps have passed, and
gathers the time and energy that they took. The other ranks' threads follow its commands, each with its own clock and
its own GPUs; steps are identified by their number, which is the same on all ranks.

However it ends, the GPUs train on under the best limit that is known, else under the limit found: where that fails,
because the agent is away or a GPU is lost, it is tried again until the trial ends. The end of the lease does the rest.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from threading import Event, Thread
from time import monotonic, monotonic_ns

from rheostat.errors import ForeignPowerLimit, GpuCallFailed, GpuUnavailable, RheostatError, ServerRefused
from rheostat.schemas.power import PowerLimitMeasurement
from rheostat.sdk.gpu_lease import INVALIDATING_REASONS, READ_ONLY_CODES, GpuLease, TotalUsage, add_up, may_pass
from rheostat.sdk.ranks import Ranks
from rheostat.sdk.rhythm import Rhythm
from rheostat.sdk.slices import BY_COUNTER, BY_POWER_READINGS, StepSlice, Stretch
from rheostat.sdk.step_clock import StepClock
from rheostat.sdk.sweep import MeasuredLimit, SendMeasurements, ServerAway, Sweep
from rheostat.sdk.threads import in_background

_log = logging.getLogger("rheostat")

_SHORTEST_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.2, 1.0
_LAGGARD_SECONDS = 10.0
_CLOSE_SECONDS = 2.0
_RETRY_SECONDS = 0.5
_TRIES = 3
_MOST_INTERRUPTIONS = 10
_MOST_DOUBLINGS = 5
_IDLE_SECONDS = 600.0
# A sweep that takes so long, and so many steps, is not worth more of them.
_LONGEST_SECONDS, _MOST_STEPS = 1800.0, 5000


@dataclass(frozen=True, slots=True)
class _SetLimit:
    watts: int


@dataclass(frozen=True, slots=True)
class _Measure:
    watts: int
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True)
class _Settle:
    """Train on under the best limit, or where it is unknown under the limit found."""

    best_watts: int | None


_Command = _SetLimit | _Measure | _Settle


@dataclass(frozen=True, slots=True)
class _Problem:
    """Why a rank could not execute a command, and whether it is worth trying again."""

    text: str
    may_pass: bool
    is_expected: bool = False

    @classmethod
    def of(cls, error: RheostatError) -> "_Problem":
        is_expected = isinstance(error, ServerRefused) and error.server_code in READ_ONLY_CODES
        return cls(str(error), may_pass(error), is_expected)


@dataclass(frozen=True, slots=True)
class _Reply:
    """A rank's reply to a command; a rank without a lease has no GPUs of its own to report."""

    problem: _Problem | None = None
    is_cut: bool = False
    is_averaged: bool = False
    time_seconds: float = 0.0
    gpus: int = 0
    usage: TotalUsage = field(default_factory=TotalUsage)


class _TrialOver(Exception):
    """The trial has ended, so that no more steps follow."""


class _Interrupted(Exception):
    """A limit could not be set or measured for a reason that may pass."""


class _Ended(Exception):
    """There is no point in going on.

    Attributes:
        level: How loudly to say so.
    """

    def __init__(self, why: str, level: int = logging.WARNING) -> None:
        super().__init__(why)
        self.level = level


class Profiler:
    """Measures the power limits that the server asks for, in the background of one trial.

    Args:
        clock: Records the steps of this rank.
        lease: The GPUs that this rank leases; None: another rank of the node leases them, or none does.
        ranks: A channel that nothing else uses.
        send: Reports measurements to the server; called on rank 0.
        steps_per_epoch: Steps of an epoch; None when unknown.
        choose: Chooses among measurements where the server cannot; called on rank 0.
    """

    def __init__(
        self,
        clock: StepClock,
        lease: GpuLease | None,
        ranks: Ranks,
        send: SendMeasurements,
        steps_per_epoch: int | None,
        *,
        choose: Callable[[Sequence[PowerLimitMeasurement]], int | None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._lease = lease
        self._ranks = ranks
        self._send = send
        self._steps_per_epoch = steps_per_epoch
        self._choose = choose
        self._rhythm = Rhythm()
        self._rules = BY_COUNTER
        self._limit_set_ns = 0
        self._lease_id: str | None = None
        self._best_watts: int | None = None
        self._has_measured = False
        self._is_settled = True
        self._give_up_at, self._last_step = 0.0, 0
        self._over = Event()
        self._thread: Thread | None = None

    def start(self, power_limit_watts: int | None, profile_power_limits_watts: Sequence[int]) -> None:
        """Begin; every rank must.

        Args:
            power_limit_watts: The best limit where it is known: it is measured once more, at no cost.
            profile_power_limits_watts: Else what to measure, in order.
        """
        self._best_watts = power_limit_watts
        plan = list(profile_power_limits_watts)
        work = self._follow if self._ranks.rank else lambda: self._lead(power_limit_watts, plan)
        self._thread = in_background(lambda: self._guarded(work), "profiler")

    @property
    def is_running(self) -> bool:
        """Whether limits are being changed."""
        return self._thread is not None and self._thread.is_alive()

    def close(self) -> None:
        """Stop measuring; the end of the lease restores the limit found."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS if self._ranks.size == 1 else _LAGGARD_SECONDS)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except _TrialOver:
            self._say_if_too_short()
        except Exception as error:  # no failure here may disturb training
            level = error.level if isinstance(error, _Ended) else logging.WARNING
            _log.log(logging.DEBUG if self._over.is_set() else level, "Profiling of power limits ends: %s", error)
        if self._lease is not None and not self._is_settled:
            self._lease.settle_until(self._best_watts, self._over)

    def _say_if_too_short(self) -> None:
        """Say so when the run has ended before any power limit was measured, though none is known."""
        if self._ranks.rank or self._has_measured or self._best_watts is not None:
            return
        _log.warning(
            "The run ended after %d steps, too soon to measure a power limit by. A limit takes %g s and %d steps or "
            "more; with longer epochs, or more of them, later runs measure some.",
            self._clock.steps,
            self._rules.shortest_settle_seconds + self._rules.shortest_seconds,
            self._rules.fewest_settle_steps + self._rules.fewest_steps,
        )

    def _follow(self) -> None:
        nothing: _Command | None = None
        while (command := self._ranks.broadcast(nothing)) is not None:
            self._ranks.gather(self._execute(command))

    def _lead(self, known_watts: int | None, plan: list[int]) -> None:
        self._give_up_at, self._last_step = monotonic() + _LONGEST_SECONDS, self._clock.steps + _MOST_STEPS
        sweep = Sweep(plan, self._send, self._choose)
        best = known_watts
        try:
            for attempt in range(_MOST_INTERRUPTIONS):
                try:
                    if known_watts is None:
                        sweep.run(self._measure)
                        best = sweep.best
                    else:
                        best = self._confirm(known_watts)
                    self._settle(best)
                    return
                except _Interrupted as why:
                    _log.info("Profiling of power limits is interrupted: %s", why)
                    self._settle(known_watts)
                    # Longer each time: where nothing had to be settled, it says nothing about the agent and the GPU.
                    if self._over.wait(_RETRY_SECONDS * 2 ** min(attempt, _MOST_DOUBLINGS)):
                        raise _TrialOver from None
            raise _Ended("It was interrupted too often.")
        except ServerAway:
            self._settle(sweep.best)
            raise _Ended("The server does not answer.", logging.INFO) from None
        finally:
            self._ranks.broadcast(None)

    def _confirm(self, known_watts: int) -> int:
        if (measured := self._measure(known_watts, is_certain=True)) is None:
            return known_watts
        answer = self._send([measured.measurement])
        return known_watts if answer is None or answer.power_limit_watts is None else answer.power_limit_watts

    def _settle(self, best_watts: int | None) -> None:
        """Train on under the best limit on all ranks, as soon as they can set it."""
        while problem := self._problem_of(self._tell(_Settle(best_watts))):
            if not problem.may_pass:
                raise _Ended(problem.text)
            if self._over.wait(_RETRY_SECONDS):
                raise _TrialOver

    def _measure(self, watts: int, is_certain: bool) -> MeasuredLimit | None:
        """Measure a limit; None when it cannot be set, or every try was slowed down by something else.

        The first and the last wait until the pattern of the steps is certain: others are repeated where it was not.

        Raises:
            _Interrupted: It could not be measured for a reason that may pass.
            _Ended: No limit can be measured any more.
            _TrialOver: The trial ended meanwhile.
        """
        for _ in range(_TRIES):
            replies = self._command(_SetLimit(watts))
            if any(reply.is_cut for reply in replies):
                return None
            self._rules = BY_POWER_READINGS if any(reply.is_averaged for reply in replies) else BY_COUNTER
            steps = self._enough_steps(watts, is_certain)
            replies = self._command(_Measure(watts, tuple(steps.stretches)))
            usage = add_up(reply.usage for reply in replies)
            invalid_by = INVALIDATING_REASONS & (usage.throttle_reasons or frozenset())
            if usage.energy_joules is not None and not invalid_by:
                self._has_measured = True
                return self._measured_limit(watts, steps, replies, usage)
            why = f"{' and '.join(sorted(invalid_by))} slowdown" if invalid_by else "unknown energy"
            _log.info("%d W is measured again: %s", watts, why)
        if usage.energy_joules is None:
            raise _Ended("The energy of the GPUs is unknown.")
        return None

    def _measured_limit(
        self, watts: int, steps: StepSlice, replies: Sequence[_Reply], usage: TotalUsage
    ) -> MeasuredLimit:
        time_seconds = max(reply.time_seconds for reply in replies)
        watts_per_gpu = (usage.energy_joules or 0.0) / time_seconds / sum(reply.gpus for reply in replies)
        if usage.throttle_reasons is None and self._rhythm.changes:
            watts_per_gpu = inf  # pauses may be a part of the pattern, so that the steps themselves draw more
        measurement = PowerLimitMeasurement(
            power_limit_watts=watts,
            time_seconds=time_seconds,
            energy_joules=usage.energy_joules,
            steps=steps.count,
            steps_per_epoch=self._steps_per_epoch,
        )
        return MeasuredLimit(
            measurement,
            watts_per_gpu=watts_per_gpu,
            is_capped=None if usage.throttle_reasons is None else "power_cap" in usage.throttle_reasons,
            rhythm=self._rhythm.changes,
        )

    def _enough_steps(self, watts: int, is_certain: bool) -> StepSlice:
        """Wait for enough steps to measure a limit by, for a bounded time."""
        steps = StepSlice(self._rules, self._limit_set_ns, self._rhythm)
        stepped_at = monotonic()
        while not self._over.wait(self._poll_seconds()):
            for step in (new := self._clock.new_steps()):
                steps.add(step)
            if steps.is_enough() and not (is_certain and self._rhythm.is_doubtful):
                return steps
            now = monotonic()
            stepped_at = now if new else stepped_at
            why = ""
            if now - stepped_at > _IDLE_SECONDS:
                why = f"No step has ended for {_IDLE_SECONDS / 60:g} minutes."
            elif steps.is_hopeless():
                why = f"There were too few steps without a break to measure {watts} W by."
            elif now > self._give_up_at and self._clock.steps > self._last_step:
                why = f"It took more than {_LONGEST_SECONDS / 60:g} minutes."
            if why:  # where the best limit is known, nothing is lost by that
                raise _Ended(why, logging.WARNING if self._best_watts is None else logging.INFO)
        raise _TrialOver

    def _poll_seconds(self) -> float:
        usual = self._rhythm.usual_seconds or 0.0
        return min(max(usual, _SHORTEST_POLL_SECONDS), _LONGEST_POLL_SECONDS)

    def _command(self, command: _Command) -> list[_Reply]:
        """Execute a command on every rank.

        Raises:
            _Interrupted: One of them failed, and may not fail again.
            _Ended: One of them failed for good.
        """
        replies = self._tell(command)
        if problem := self._problem_of(replies):
            if problem.may_pass:
                raise _Interrupted(problem.text)
            raise _Ended(problem.text, logging.INFO if problem.is_expected else logging.WARNING)
        return replies

    def _tell(self, command: _Command) -> list[_Reply]:
        self._ranks.broadcast(command)
        return self._ranks.gather(self._execute(command))

    @staticmethod
    def _problem_of(replies: Sequence[_Reply]) -> _Problem | None:
        """Return the worst problem of all ranks."""
        problems = [reply.problem for reply in replies if reply.problem is not None]
        return min(problems, key=lambda problem: problem.may_pass, default=None)

    def _execute(self, command: _Command) -> _Reply:
        try:
            match command:
                case _SetLimit(watts):
                    return self._set_limit(watts)
                case _Measure():
                    return self._usage(command)
                case _Settle(best_watts):
                    return self._settle_own(best_watts)
        except RheostatError as error:
            return _Reply(problem=_Problem.of(error))

    def _set_limit(self, watts: int) -> _Reply:
        is_cut = False
        if self._lease is not None:
            try:
                is_cut = not self._lease.try_limit(watts)
            except RheostatError as error:
                # Without an answer it may be in force.
                self._is_settled = self._is_settled and not may_pass(error)
                raise
            self._is_settled = False
            self._lease_id = self._lease.lease_id
        self._limit_set_ns = monotonic_ns()
        is_averaged = self._lease is not None and self._lease.energy_source == "power_readings"
        return _Reply(is_cut=is_cut, is_averaged=is_averaged)

    def _settle_own(self, best_watts: int | None) -> _Reply:
        self._best_watts = best_watts
        if self._lease is not None and not self._is_settled:
            self._lease.settle(best_watts)
            self._is_settled = True
        return _Reply()

    def _usage(self, command: _Measure) -> _Reply:
        """Return the time and energy of stretches of steps on this rank; the limit must still be in force."""
        windows = self._windows(command.stretches)
        time_seconds = sum(until - since for since, until in windows) / 1e9
        if self._lease is None:
            return _Reply(time_seconds=time_seconds)
        usage = add_up(self._lease.usage(since, until) for since, until in windows)
        if not self._lease.try_limit(command.watts):
            raise ForeignPowerLimit(f"{command.watts} W did not stay in force.")
        if self._lease.lease_id != self._lease_id:
            raise GpuUnavailable("The agent was away for so long that the lease had to be renewed.")
        return _Reply(time_seconds=time_seconds, gpus=len(self._lease.gpus), usage=usage)

    def _windows(self, stretches: Sequence[Stretch]) -> list[tuple[int, int]]:
        """Return when stretches of steps began and ended on this rank, which may be a little behind rank 0."""
        give_up_at = monotonic() + _LAGGARD_SECONDS
        while self._clock.steps < stretches[-1].last_step and monotonic() < give_up_at:
            self._over.wait(_SHORTEST_POLL_SECONDS)
        windows = []
        for stretch in stretches:
            since, until = self._clock.end_ns(stretch.after_step), self._clock.end_ns(stretch.last_step)
            if since is None or until is None:
                raise GpuCallFailed("A rank counts other steps than rank 0.")
            windows.append((since, until))
        return windows
