"""Measures power limits between the steps of a command that runs, by the lines of its output that tell of a step."""

import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from statistics import median
from threading import Event
from time import monotonic, monotonic_ns

from rheostat.errors import RheostatError
from rheostat.launch.readings import LineSplitter
from rheostat.launch.steps import StepCount, StepReader
from rheostat.schemas.power import PowerLimitAnswer, PowerLimitMeasurement
from rheostat.sdk.gpu_lease import INVALIDATING_REASONS, add_up, may_pass
from rheostat.sdk.slice_meter import Mark, Slice, SliceMeter
from rheostat.sdk.slices import BY_COUNTER, BY_POWER_READINGS
from rheostat.sdk.sweep import MeasuredLimit, ServerAway, Sweep
from rheostat.sdk.threads import in_background
from rheostat.sdk.trial import RunningTrial

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_BREAK_TIMES = 4.0
"""What takes so many times a usual step has something else in it, as an evaluation."""
_USUAL_STEPS = 15
_FEWEST_STEPS = 3
_LONGEST_SLICE_SECONDS = 600.0
_TRIES = 2
_MOST_INTERRUPTIONS = 5
_RETRY_SECONDS = 2.0


class _RunOver(Exception):
    """The command has ended."""


class OutputSteps:
    """The steps of a command, as its outputs tell of them; see `rheostat.sdk.slice_meter.StepSource`.

    Args:
        pattern: Of the lines that do.
    """

    def __init__(self, pattern: str) -> None:
        self._read_step = StepReader(pattern)
        self._lines = {1: LineSplitter(), 2: LineSplitter()}
        self._found = SimpleQueue[tuple[int, int]]()
        self._count = StepCount()
        self._last: Mark | None = None
        self._usual = deque[float](maxlen=_USUAL_STEPS)
        self.over = Event()

    def feed(self, output: int, data: bytes) -> None:
        """Read what was written to one of the outputs; each time that a progress bar overwrites itself is a line."""
        for line in self._lines[output].feed(data.replace(b"\r", b"\n")):
            if (step := self._read_step(line)) is not None:
                self._found.put((step, monotonic_ns()))

    def skip(self) -> None:
        """Count the steps that were made so far; what follows is another slice's."""
        with suppress(Empty):
            while True:
                self._marked(*self._found.get_nowait())

    def next_mark(self, give_up_at: float) -> Mark | None:
        """See `StepSource`; after an evaluation it begins again.

        Raises:
            _RunOver: The command has ended.
        """
        while (left := give_up_at - monotonic()) > 0:
            if self.over.is_set():
                raise _RunOver
            try:
                return self._marked(*self._found.get(timeout=min(left, _LOOK_SECONDS)))
            except Empty:
                continue
        return None

    def completed(self, mark: Mark) -> Mark:
        """See `StepSource`; what the command has sent to the GPU is not known."""
        return mark

    def _marked(self, step: int, at_ns: int) -> Mark:
        mark = self._count.mark(step, at_ns)
        last, self._last = self._last, mark
        if last is None or mark.is_first:
            return mark
        seconds = (mark.end_ns - last.end_ns) / 1e9 / (mark.steps - last.steps)
        usual = median(self._usual) if len(self._usual) >= _FEWEST_STEPS else seconds
        self._usual.append(seconds)
        return Mark(mark.steps, mark.end_ns, is_first=seconds > _BREAK_TIMES * usual)


class StepLimits:
    """Measures the limits that the server asks for while the command trains, then sets the best one.

    Args:
        trial: The run, entered.
        steps: Of the command.
        steps_per_epoch: How many make an epoch; None: unknown.
    """

    def __init__(self, trial: RunningTrial, steps: OutputSteps, steps_per_epoch: float | None) -> None:
        self._trial = trial
        self._steps = steps
        self._steps_per_epoch = steps_per_epoch
        self._sweep = Sweep(trial.profile_power_limits_watts, self._send, trial.cheapest_power_limit)

    def begin(self) -> None:
        """Measure in the background, where there is anything to measure."""
        if self._trial.energy_source is not None and self._trial.profile_power_limits_watts:
            in_background(self._run, "power-limits")

    def end(self) -> None:
        """Measure no more: the command has ended."""
        self._steps.over.set()

    def _run(self) -> None:
        for _ in range(_MOST_INTERRUPTIONS):
            try:
                self._sweep.run(self._measure)
            except _RunOver:
                return
            except ServerAway:
                _log.info("Profiling of power limits ends: the server does not answer.")
            except RheostatError as error:
                _log.info("Profiling of power limits is interrupted: %s", error)
                self._trial.settle_power_limit(self._sweep.best)
                if may_pass(error) and not self._steps.over.wait(_RETRY_SECONDS):
                    continue
            break
        if not self._steps.over.is_set():
            self._trial.settle_power_limit(self._sweep.best)
            if self._sweep.best is not None:
                _log.info("The command trains on at %d W, the best power limit.", self._sweep.best)

    def _measure(self, watts: int, _is_certain: bool) -> MeasuredLimit | None:
        """Measure a limit; None when it cannot be set or measured."""
        rules = BY_POWER_READINGS if self._trial.energy_source == "power_readings" else BY_COUNTER
        for _ in range(_TRIES):
            if not self._trial.try_power_limit(watts):
                return None
            self._steps.skip()
            found = SliceMeter(self._steps, rules).measure(monotonic() + _LONGEST_SLICE_SECONDS)
            if found is None:
                _log.info("%d W is not measured: there were too few steps.", watts)
                return None
            measured = self._measured(watts, found)
            # Setting it again checks that it was in force to the end.
            if measured is not None and self._trial.try_power_limit(watts):
                return measured
        return None

    def _measured(self, watts: int, found: Slice) -> MeasuredLimit | None:
        usage = add_up(self._trial.usage(since, until) for since, until in found.windows_ns)
        if not usage.energy_joules or INVALIDATING_REASONS & (usage.throttle_reasons or frozenset()):
            return None
        reasons = usage.throttle_reasons
        return MeasuredLimit(
            PowerLimitMeasurement(
                power_limit_watts=watts,
                time_seconds=found.time_seconds,
                energy_joules=usage.energy_joules,
                steps=found.steps,
                steps_per_epoch=self._steps_per_epoch,
            ),
            watts_per_gpu=usage.energy_joules / found.time_seconds / self._trial.gpu_count,
            is_capped=None if reasons is None else "power_cap" in reasons,
        )

    def _send(self, measurements: Sequence[PowerLimitMeasurement]) -> PowerLimitAnswer | None:
        best = self._trial.measured(measurements)
        left = list(self._trial.profile_power_limits_watts)
        if best is None and not left:
            return None
        return PowerLimitAnswer(power_limit_watts=best, profile_power_limits_watts=left)
