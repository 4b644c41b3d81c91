"""Measures power limits while training goes on, between its steps and without a hand in them.

A thread of rank 0 conducts: it sets a limit, waits until enough steps have passed, and asks what they took. The other
ranks' threads do as they are told, each with its own clock and its own GPUs; steps are named by their number, which
is the same on all ranks. Training itself only notes when its steps end.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event, Thread
from time import monotonic, monotonic_ns, sleep

from rheostat.errors import GpuCallFailed, RheostatError
from rheostat.schemas.server import PowerLimitAnswer, PowerLimitMeasurement
from rheostat.sdk.gpu_lease import GpuLease, Usage, add_up
from rheostat.sdk.ranks import Ranks
from rheostat.sdk.slices import BY_COUNTER, BY_POWER_SAMPLES, Found, Stretch, find_stretches
from rheostat.sdk.step_clock import StepClock

_log = logging.getLogger("rheostat")

_LOOK_SECONDS = 0.05
_LAGGARD_SECONDS = 10.0
_TRIES = 3
_FEWEST_FOR_A_RECHECK = 3
_SPOILT_BY = frozenset({"thermal", "hardware"})
# A limit so far above the mean draw is not reached by its peaks either; further where the GPU does not tell.
_OUT_OF_REACH, _SURELY_OUT_OF_REACH = 1.1, 1.25

Report = Callable[[Sequence[PowerLimitMeasurement]], PowerLimitAnswer | None]
"""Tells the server what was measured; None: it did not get there."""


@dataclass(frozen=True, slots=True)
class _SetLimit:
    watts: int


@dataclass(frozen=True, slots=True)
class _Measure:
    watts: int
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True)
class _Said:
    """What a rank answers; one without a lease has no GPUs of its own to tell of."""

    problem: str | None = None
    is_cut: bool = False
    has_counters: bool = True
    time_seconds: float = 0.0
    gpus: int = 0
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class _Slice:
    measurement: PowerLimitMeasurement
    watts_per_gpu: float
    is_capped: bool | None

    def is_out_of_reach(self, power_limit_watts: int) -> bool:
        """Whether a lower limit would change nothing, since the GPUs do not draw as much."""
        margin = {False: _OUT_OF_REACH, None: _SURELY_OUT_OF_REACH}.get(self.is_capped)
        return margin is not None and power_limit_watts >= margin * self.watts_per_gpu


class _TrialOver(Exception):
    """Nobody steps any more."""


class Profiler:
    """Measures the limits that the server wants to know, in the background of one trial.

    Attributes:
        best_watts: The limit that training goes on with; None until it is known.

    Args:
        clock: Notes the steps of this rank.
        lease: The GPUs that this rank looks after; None: another rank of the node does, or nobody.
        ranks: A channel that nothing else uses.
        report: Tells the server; rank 0's is called.
        steps_per_epoch: Steps of an epoch; None when unknown.
    """

    def __init__(
        self, clock: StepClock, lease: GpuLease | None, ranks: Ranks, report: Report, steps_per_epoch: int | None
    ) -> None:
        self._clock = clock
        self._lease = lease
        self._ranks = ranks
        self._report = report
        self._steps_per_epoch = steps_per_epoch
        self._limit_set_ns = 0
        self._rules = BY_COUNTER
        self._over = Event()
        self.best_watts: int | None = None
        self._thread: Thread | None = None

    def start(self, power_limit_watts: int | None, profile_power_limits_watts: Sequence[int]) -> None:
        """Begin; every rank must.

        Args:
            power_limit_watts: The best limit where it is known: it is measured once more, which costs nothing.
            profile_power_limits_watts: Else what to measure first.
        """
        plan = list(profile_power_limits_watts)
        work = self._follow if self._ranks.rank else lambda: self._conduct(power_limit_watts, plan)
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
        except Exception as error:  # whatever it is, training must not feel it
            _log.warning("Power limits are not measured any more: %s", error)
        finally:
            self._clock.stop()

    def _follow(self) -> None:
        nothing: _SetLimit | _Measure | None = None
        while (command := self._ranks.broadcast(nothing)) is not None:
            self._ranks.gather(self._do(command))

    def _conduct(self, known_watts: int | None, plan: list[int]) -> None:
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
        self._settle_for(known_watts)
        if (found := self._measure(known_watts)) is None:
            return
        answer = self._report([found.measurement])
        if answer is not None and answer.power_limit_watts not in (None, known_watts):
            self._settle_for(answer.power_limit_watts)

    def _sweep(self, plan: list[int]) -> None:
        """Measure from the top down what the server wants, until it knows the best limit."""
        first: _Slice | None = None
        slices, given_up = 0, set[int]()
        best: int | None = None
        while plan:
            limit = plan[0]
            found = self._measure(limit)
            if found is None:
                given_up.add(limit)
                plan = plan[1:]
                continue
            first, slices = first or found, slices + 1
            alike = [lower for lower in plan[1:] if found.is_out_of_reach(lower)]
            told = [found.measurement.model_copy(update={"power_limit_watts": watts}) for watts in [limit, *alike]]
            answer = self._report(told)
            if answer is None:
                break
            best = answer.power_limit_watts
            plan = [watts for watts in answer.profile_power_limits_watts if watts not in given_up]
        if first is None:
            return
        if best is not None and slices >= _FEWEST_FOR_A_RECHECK:
            best = self._recheck(first.measurement.power_limit_watts, best)
        self._settle_for(first.measurement.power_limit_watts if best is None else best)

    def _recheck(self, first_watts: int, best: int) -> int:
        """Measure the first limit again, now that the GPU is as warm as it was at the others."""
        found = self._measure(first_watts)
        answer = None if found is None else self._report([found.measurement])
        return best if answer is None or answer.power_limit_watts is None else answer.power_limit_watts

    def _settle_for(self, watts: int | None) -> None:
        if watts is not None:
            self._tell(_SetLimit(watts))
            self.best_watts = watts

    def _measure(self, watts: int) -> _Slice | None:
        """Measure a limit; None when it cannot be had, or something spoils it again and again.

        Raises:
            RheostatError: No limit can be set any more, or what was used is unknown.
            _TrialOver: The trial ended meanwhile.
        """
        used = Usage()
        for _ in range(_TRIES):
            said = self._tell(_SetLimit(watts))
            if any(one.is_cut for one in said):
                return None
            self._rules = BY_COUNTER if all(one.has_counters for one in said) else BY_POWER_SAMPLES
            found = self._enough_steps()
            said = self._tell(_Measure(watts, found.stretches))
            used = add_up(one.usage for one in said)
            spoilt_by = _SPOILT_BY & (used.throttle_reasons or frozenset())
            if used.energy_joules is not None and not spoilt_by:
                return self._slice(watts, found, said, used)
            why = " and ".join(sorted(spoilt_by)) or "unknown energy"
            _log.info("%d W is measured again: %s", watts, why)
        if used.energy_joules is None:
            raise GpuCallFailed("The energy of the GPUs is unknown.")
        return None

    def _slice(self, watts: int, found: Found, said: Sequence[_Said], used: Usage) -> _Slice:
        time_seconds = max(one.time_seconds for one in said)
        measurement = PowerLimitMeasurement(
            power_limit_watts=watts,
            time_seconds=time_seconds,
            energy_joules=used.energy_joules,
            steps=found.steps,
            steps_per_epoch=self._steps_per_epoch,
        )
        return _Slice(
            measurement,
            watts_per_gpu=(used.energy_joules or 0.0) / time_seconds / sum(one.gpus for one in said),
            is_capped=None if used.throttle_reasons is None else "power_cap" in used.throttle_reasons,
        )

    def _enough_steps(self) -> Found:
        while not self._over.wait(_LOOK_SECONDS):
            found = find_stretches(self._clock.recorded(), self._limit_set_ns, self._rules)
            if self._rules.is_enough(found.intervals_seconds):
                return found
        raise _TrialOver

    def _tell(self, command: _SetLimit | _Measure) -> list[_Said]:
        """Let every rank do something.

        Raises:
            RheostatError: One of them could not.
        """
        self._ranks.broadcast(command)
        said = self._ranks.gather(self._do(command))
        for one in said:
            if one.problem is not None:
                raise GpuCallFailed(one.problem)
        return said

    def _do(self, command: _SetLimit | _Measure) -> _Said:
        try:
            if isinstance(command, _SetLimit):
                return self._set(command.watts)
            return self._look_up(command)
        except RheostatError as error:
            return _Said(problem=str(error))

    def _set(self, watts: int) -> _Said:
        is_cut = self._lease is not None and not self._lease.limit(watts)
        self._limit_set_ns = monotonic_ns()
        self._clock.record()
        return _Said(is_cut=is_cut, has_counters=self._lease is None or self._lease.has_counters)

    def _look_up(self, command: _Measure) -> _Said:
        """Tell what stretches of steps took on this rank, and that the limit was there to the end."""
        spans = self._spans(command.stretches)
        time_seconds = sum(until - since for since, until in spans) / 1e9
        if self._lease is None:
            return _Said(time_seconds=time_seconds)
        usage = add_up(self._lease.usage(since, until) for since, until in spans)
        if not self._lease.limit(command.watts):
            raise GpuCallFailed(f"{command.watts} W did not stay in force.")
        return _Said(time_seconds=time_seconds, gpus=len(self._lease.gpus), usage=usage)

    def _spans(self, stretches: Sequence[Stretch]) -> list[tuple[int, int]]:
        """Give when stretches of steps began and ended here; this rank may be a little behind."""
        give_up_at = monotonic() + _LAGGARD_SECONDS
        while monotonic() < give_up_at:
            ends = dict(self._clock.recorded().ends)
            if all(stretch.after_step in ends and stretch.last_step in ends for stretch in stretches):
                return [(ends[stretch.after_step], ends[stretch.last_step]) for stretch in stretches]
            sleep(_LOOK_SECONDS)
        raise GpuCallFailed("A rank takes other steps than rank 0.")
