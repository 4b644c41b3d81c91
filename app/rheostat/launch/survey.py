"""Surveys a command: starts it at each batch size for some seconds, counts the steps in its output, and ends it."""

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Event, Thread
from time import monotonic, monotonic_ns

from rheostat.errors import RheostatError
from rheostat.launch.endings import BY_SIGNAL, OutOfMemory, failure, own_code
from rheostat.launch.output import OutputRelay
from rheostat.launch.plan import LaunchPlan
from rheostat.launch.process import Command
from rheostat.launch.readings import LineSplitter
from rheostat.launch.signals import SignalForwarder
from rheostat.launch.steps import StepCount, StepReader
from rheostat.launch.watch import OutputWatch
from rheostat.sdk.slice_meter import Mark

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_LONGEST_GRACE_SECONDS = 5.0
"""There is no model to save."""
_LAST_LINES = 3

CommandAt = Callable[[int], tuple[Sequence[str], Mapping[str, str]]]
"""Returns the arguments and the environment of the command at a batch size."""


class CommandFailed(Exception):
    """The command cannot be surveyed at a batch size."""


class CommandSteps:
    """Runs the command at one batch size, again when it comes to its own end; see `BatchSizeSteps`.

    Its output is read, and not shown. A signal that asks this process to end is forwarded to it.

    Args:
        command_at: What to run.
        plan: How to read its steps, and how to end it.
        batch_size: What it trains with.
    """

    def __init__(self, command_at: CommandAt, plan: LaunchPlan, batch_size: int) -> None:
        _log.info("survey: the command runs at batch size %d for some seconds", batch_size)
        self._plan = plan
        self._batch_size = batch_size
        try:
            self._arguments, self._environment = command_at(batch_size)
        except RheostatError as error:  # of this batch size alone, as one that cannot be split over the GPUs
            raise CommandFailed(str(error)) from error
        self._count = StepCount()
        self._signals = SignalForwarder(lambda: None)
        self._signals.__enter__()
        self._run: _Run | None = None

    def next_mark(self, give_up_at: float) -> Mark | None:
        """See `StepSource`.

        Raises:
            OutOfMemory: The command ran out of memory.
            CommandFailed: It failed, or no line of its output matched.
            SystemExit: A signal asked this process to end.
        """
        while (left := give_up_at - monotonic()) > 0:
            if self._run is None:
                self._run = self._start()
                self._count.begin_anew()
            ended = self._run.has_ended
            read = self._run.next_step(min(left, _LOOK_SECONDS))
            self._check_signal()
            if read is not None:
                return self._count.mark(*read)
            if ended:
                self._take_end(self._run)
        if self._count.steps == 0:
            raise CommandFailed(self._nothing_matched())
        return None

    def completed(self, mark: Mark) -> Mark:
        """See `StepSource`; what the command has sent to the GPU is not known."""
        return mark

    def close(self) -> None:
        """End the command, with all processes that it started."""
        run, self._run = self._run, None
        try:
            if run is not None:
                run.end(self._plan.stop_signal, min(self._plan.stop_grace_seconds, _LONGEST_GRACE_SECONDS))
        finally:
            self._signals.__exit__()

    def _start(self) -> "_Run":
        try:
            watch = OutputWatch([re.compile(pattern) for pattern in self._plan.oom_patterns])
            run = _Run(self._arguments, self._environment, StepReader(self._plan.step_pattern or ""), watch)
        except OSError as error:
            raise CommandFailed(f"{self._arguments[0]} cannot be run: {error.strerror}") from error
        self._signals.begin(run.command)
        return run

    def _check_signal(self) -> None:
        if (number := self._signals.ended_by) is not None:
            raise SystemExit(BY_SIGNAL + number)

    def _take_end(self, run: "_Run") -> None:
        self._run = None
        code = run.end(self._plan.stop_signal, 0.0)
        if code != 0:
            failed = failure(code, run.watch, run.command.oom_kills)
            if isinstance(failed, OutOfMemory):
                raise failed
            last = run.watch.last_lines(_LAST_LINES)
            raise CommandFailed(f"the command ended with exit code {own_code(code)}; its last lines were {last!r}")
        if self._count.steps == 0:
            raise CommandFailed(self._nothing_matched(run))

    def _nothing_matched(self, run: "_Run | None" = None) -> str:
        run = run or self._run
        lines = [] if run is None else run.watch.last_lines(_LAST_LINES)
        return f"no line of the output matched --step-pattern {self._plan.step_pattern!r}; the last ones were {lines!r}"


class _Run:
    """One run of the command.

    Attributes:
        command: Its process.
        watch: What was seen of its output.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], read_step: StepReader, watch: OutputWatch
    ) -> None:
        self._read_step = read_step
        self.watch = watch
        self._found = SimpleQueue[tuple[int, int]]()
        self._code: int | None = None
        self._ended = Event()
        self._nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._outputs = [OutputRelay(self._nowhere, partial(self._read, fd, LineSplitter())) for fd in (1, 2)]
        try:
            self.command = Command(arguments, environment, self._outputs[0].theirs, self._outputs[1].theirs)
        except OSError:
            os.close(self._nowhere)
            raise
        finally:
            for output in self._outputs:
                output.start()
        Thread(target=self._await_end, name="rheostat-survey-end", daemon=True).start()

    @property
    def has_ended(self) -> bool:
        """Whether the command itself has."""
        return self._ended.is_set()

    def next_step(self, within_seconds: float) -> tuple[int, int] | None:
        """Return the number of the next step, and when it ended."""
        with suppress(Empty):
            return self._found.get(timeout=0.05 if self.has_ended else within_seconds)
        return None

    def end(self, number: int, grace_seconds: float) -> int:
        """End all its processes and return its exit code, or minus the number of the signal that ended it."""
        self.command.signal(number)
        if not self._ended.wait(grace_seconds):
            self.command.kill()
        self._ended.wait()
        code = self.command.reap()
        self.command.end_rest(number, grace_seconds)
        for output in self._outputs:
            output.finish()
        self.watch.finish()
        os.close(self._nowhere)
        return code

    def _await_end(self) -> None:
        self.command.wait()
        self._ended.set()

    def _read(self, output: int, lines: LineSplitter, data: bytes) -> None:
        self.watch.feed(output, data)
        # A progress bar that overwrites itself writes a line each time.
        for line in lines.feed(data.replace(b"\r", b"\n")):
            if (step := self._read_step(line)) is not None:
                self.watch.note_progress()
                self._found.put((step, monotonic_ns()))
