"""Looks after a command from its start to its end: reports what it tells, ends it when the server says so."""

import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from math import isfinite, nan
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic

from rheostat.launch.limits import EpochLimits
from rheostat.launch.output import Passage
from rheostat.launch.plan import Plan
from rheostat.launch.process import Command
from rheostat.launch.readings import FileReader, Lines, Reader, Reading, pattern_reader
from rheostat.launch.signals import Signals, signal_name
from rheostat.launch.tail import Tail
from rheostat.launch.templates import fill
from rheostat.schemas.server import JobSettings
from rheostat.sdk.fallback import has_reached
from rheostat.sdk.trial import RunningTrial

_log = logging.getLogger(__name__)

STOPPED, NOT_EXECUTABLE, NOT_FOUND, BY_SIGNAL = 124, 126, 127, 128
"""Exit codes, as those of `timeout` and of shells."""

_LOOK_SECONDS = 0.1

_SIGNAL_SECONDS = 0.5
"""A signal that comes between Python's last look for one and a wait is passed on only when that wait ends."""


class CommandEnded(Exception):
    """Ends the trial's block before the target; what it is called tells the trial's outcome.

    Attributes:
        exit_code: For whoever started this.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Cancelled(CommandEnded):
    """Nothing is to be learnt of it."""


class OutOfMemoryError(CommandEnded):
    """The batch size was too large; the trial knows it by this name."""


class _Watch:
    """Looks for the metric in one output."""

    def __init__(self, reader: Reader | None, take: Callable[[Reading], None]) -> None:
        self._reader = reader
        self._take = take
        self._lines = Lines()

    def feed(self, data: bytes) -> None:
        if self._reader is not None:
            self.read(self._lines.feed(data))

    def finish(self) -> None:
        self.read(self._lines.rest())

    def read(self, lines: Sequence[str]) -> None:
        for line in lines:
            if self._reader is not None and (reading := self._reader(line)) is not None:
                self._take(reading)


class Supervisor:
    """Looks after the command from its start to its end."""

    def __init__(self, trial: RunningTrial, settings: JobSettings, plan: Plan, values: Mapping[str, str]) -> None:
        self._trial = trial
        self._settings = settings
        self._plan = plan
        self._values = values
        self._events: SimpleQueue[Reading | None] = SimpleQueue()
        reader = None if plan.metric_pattern is None else pattern_reader(plan.metric_pattern)
        self._watches = [_Watch(reader, self._events.put) for _ in (1, 2)]
        self._outputs = [Passage(fd, watch.feed) for fd, watch in zip((1, 2), self._watches, strict=True)]
        self._ended = Event()
        self._limits = EpochLimits(trial)
        self._epoch: float | None = None
        self._is_decided = self._is_reached = self._is_told_to_end = False
        self._due: list[tuple[float, int]] = []

    def run(self, environment: Mapping[str, str]) -> int:
        """Run it; returns its exit code, or raises what tells the trial how it ended."""
        with Signals(self._resize) as signals:
            file = None if self._plan.metrics_file is None else Path(fill(self._plan.metrics_file, self._values))
            tail = None if file is None else Tail(file)
            command = self._start(environment)
            signals.begin(command)
            Thread(target=self._await_end, args=(command,), name="rheostat-run-end", daemon=True).start()
            follower = Thread(target=self._follow, args=(tail,), name="rheostat-run-metrics", daemon=True)
            follower.start()
            self._attend(command)
            code = command.reap()
            if self._is_told_to_end or signals.ended_by is not None:
                command.end_rest(signals.ended_by or self._plan.stop_signal, self._plan.stop_grace_seconds)
            for output, watch in zip(self._outputs, self._watches, strict=True):
                output.finish()
                watch.finish()
            self._ended.set()
            follower.join()
            self._report_last()
        return self._conclude(code, command, signals.ended_by)

    def _resize(self) -> None:
        for output in self._outputs:
            output.resize()

    def _start(self, environment: Mapping[str, str]) -> Command:
        arguments = [fill(argument, self._values) for argument in self._plan.arguments]
        stdout, stderr = self._outputs
        try:
            return Command(arguments, environment, stdout.theirs, stderr.theirs)
        except OSError as error:
            code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
            raise Cancelled(f"{arguments[0]} cannot be run: {error.strerror}.", code) from error
        finally:
            for output in self._outputs:
                output.start()

    def _follow(self, tail: Tail | None) -> None:
        """Read the metrics file until all have ended, in a thread."""
        if tail is None:
            return
        target = self._settings.target
        watch = _Watch(FileReader(None if target is None else target.metric), self._events.put)
        try:
            while not self._ended.wait(_LOOK_SECONDS):
                watch.read(tail.poll())
            watch.read(tail.rest())
        except OSError as error:
            _log.warning("The metrics file cannot be read any more: %s", error)
        finally:
            tail.close()

    def _await_end(self, command: Command) -> None:
        command.wait()
        self._events.put(None)

    def _attend(self, command: Command) -> None:
        """Report what the command tells until it has ended, and end it when it is time."""
        while True:
            # First of all: a command that tells more and more is ended, too.
            while self._due and monotonic() >= self._due[0][0]:
                self._end(command)
            left = self._due[0][0] - monotonic() if self._due else _SIGNAL_SECONDS
            try:
                event = self._events.get(timeout=max(0.0, min(left, _SIGNAL_SECONDS)))
            except Empty:
                continue
            if event is None:
                return
            self._report(event)

    def _report_last(self) -> None:
        while not self._events.empty():
            if (event := self._events.get()) is not None:
                self._report(event)

    def _end(self, command: Command) -> None:
        _, number = self._due.pop(0)
        self._is_told_to_end = True
        if number == signal.SIGKILL:
            command.kill()
        else:
            command.signal(number)

    def _report(self, reading: Reading) -> None:
        before = 0.0 if self._epoch is None else self._epoch
        epoch = before + 1 if reading.epoch is None else reading.epoch + 1 - self._plan.first_epoch
        is_new = self._epoch is None or epoch > self._epoch
        if self._is_decided or not (isfinite(epoch) and epoch >= 0 and is_new):
            return
        self._epoch = epoch
        mark = self._limits.mark(epoch)
        if self._trial.report(reading.metric, epoch=epoch) == "continue":
            self._limits.take(mark)
            return
        self._is_decided = True
        used_up = epoch >= self._settings.max_epochs
        self._is_reached = has_reached(self._settings, reading.metric) or (used_up and self._settings.target is None)
        # After its last epoch a command ends by itself, and may have a model to save.
        grace = self._plan.stop_grace_seconds
        told_at = monotonic() + (grace if used_up else 0.0)
        self._due = [(told_at, self._plan.stop_signal), (told_at + grace, signal.SIGKILL)]

    def _conclude(self, code: int, command: Command, ended_by: int | None) -> int:
        own_code = code if code >= 0 else BY_SIGNAL - code
        if self._is_told_to_end:
            _log.info(
                "the command was ended: %s", "it is at its target" if self._is_reached else "it is not worth more"
            )
            return 0 if self._is_reached else STOPPED
        if self._is_decided or (code == 0 and ended_by is None):
            self._count_unseen_epochs()
            return own_code
        if ended_by is not None:
            raise Cancelled(f"The command was ended by {signal_name(ended_by)}.", own_code)
        if command.oom_killed or any(output.tells_of_memory() for output in self._outputs):
            raise OutOfMemoryError("The command ran out of memory.", own_code)
        if code < 0:
            raise Cancelled(f"The command was ended by {signal_name(-code)}.", own_code)
        return own_code

    def _count_unseen_epochs(self) -> None:
        """Take a job without a target by its word, where nothing tells its epochs: it has ended well."""
        if self._settings.target is None and self._epoch is None:
            self._trial.report(nan, epoch=self._settings.max_epochs)
