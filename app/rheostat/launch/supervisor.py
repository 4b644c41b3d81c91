"""Runs a command from start to end: reports its metric, and ends it when the server answers "stop"."""

import logging
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from threading import Event, Thread
from time import monotonic

from rheostat.launch.endings import (
    NOT_EXECUTABLE,
    NOT_FOUND,
    STOPPED,
    CommandEnded,
    Interrupted,
    failure,
    own_code,
    unconverged_code,
)
from rheostat.launch.evaluations import Evaluation, Evaluations
from rheostat.launch.limits import EpochLimits
from rheostat.launch.metrics_file import MetricsFile
from rheostat.launch.output import OutputRelay
from rheostat.launch.patterns import pattern_reader
from rheostat.launch.plan import OUTPUT, LaunchPlan
from rheostat.launch.process import Command
from rheostat.launch.readings import FileReader, LineSplitter, Reader, Reading
from rheostat.launch.signals import SignalForwarder, signal_name
from rheostat.launch.step_limits import OutputSteps, StepLimits
from rheostat.launch.templates import fill
from rheostat.launch.watch import OutputWatch
from rheostat.schemas.power import PowerLimitMeasurement
from rheostat.schemas.server import JobSettings
from rheostat.sdk.seen_metrics import UNREAD
from rheostat.sdk.trial import RunningTrial

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_MOST_NAMES = 20
_MOST_LINES = 3

_SIGNAL_SECONDS = 0.5
"""Longest wait: a signal that comes just before a wait begins is forwarded only when it ends."""


class _MetricReader:
    """Reads the metric from one output."""

    def __init__(self, reader: Reader | None, take: Callable[[Reading], None]) -> None:
        self._reader = reader
        self._take = take
        self._lines = LineSplitter()

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
    """Runs the command from start to end."""

    def __init__(self, trial: RunningTrial, settings: JobSettings, plan: LaunchPlan, values: Mapping[str, str]) -> None:
        self._trial = trial
        self._settings = settings
        self._plan = plan
        self._values = values
        before = 0.0 if trial.progress is None else trial.progress.epoch
        steps = plan.steps_per_epoch(trial.batch_size)
        self._evaluations = Evaluations(settings, plan.first_epoch, before, steps)
        target = settings.target
        self._records = FileReader(None if target is None else target.metric)
        reader: Reader | None = None
        if plan.metric_pattern is not None:
            reader = pattern_reader(plan.metric_pattern, None if target is None else target.value)
        elif plan.metrics_file == OUTPUT:
            reader = self._records.printed
        self._metrics = [_MetricReader(reader, self._take) for _ in (1, 2)]
        self._watch = OutputWatch([re.compile(pattern) for pattern in plan.oom_patterns])
        self._outputs = [OutputRelay(fd, partial(self._read, fd)) for fd in (1, 2)]
        self._file: MetricsFile | None = None
        self._ended = Event()
        self._steps, self._step_limits = _step_limits(trial, settings, plan)
        self._limits = EpochLimits(trial) if self._step_limits is None else None
        self._of_whole_run: PowerLimitMeasurement | None = None
        self._is_decided = self._is_reached = self._is_ended_by_us = False
        self._due: list[tuple[float, int]] = []

    def run(self, environment: Mapping[str, str]) -> int:
        """Run it; return the exit code, or raise a `CommandEnded` that determines the trial's outcome."""
        with SignalForwarder(self._resize) as signals:
            if self._plan.metrics_file not in (None, OUTPUT):
                self._file = MetricsFile(self._filled_file, self._records)
            command = self._start(environment)
            signals.begin(command)
            self._begin_profiling()
            Thread(target=self._await_end, args=(command,), name="rheostat-run-end", daemon=True).start()
            follower = Thread(target=self._follow, name="rheostat-run-metrics", daemon=True)
            follower.start()
            self._attend(command)
            code = command.reap()
            if self._is_ended_by_us or signals.ended_by is not None:
                command.end_rest(signals.ended_by or self._plan.stop_signal, self._plan.stop_grace_seconds)
            for output, metric in zip(self._outputs, self._metrics, strict=True):
                output.finish()
                metric.finish()
            self._watch.finish()
            self._ended.set()
            follower.join()
            if (last := self._evaluations.take()) is not None:
                self._report(last)
        return self._conclude(code, command, signals.ended_by)

    def _read(self, output: int, data: bytes) -> None:
        self._watch.feed(output, data)
        if self._steps is not None:
            self._steps.feed(output, data)
        self._metrics[output - 1].feed(data)

    def _take(self, reading: Reading) -> None:
        self._watch.note_progress()
        self._evaluations.put(reading)

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
            raise CommandEnded(f"{arguments[0]} cannot be run: {error.strerror}.", code) from error
        finally:
            for output in self._outputs:
                output.start()

    def _follow(self) -> None:
        """Read the metrics file until the command and its outputs have ended, in a thread."""
        if (file := self._file) is None:
            return
        is_over = False
        try:
            while not is_over:
                is_over = self._ended.wait(_POLL_SECONDS)
                for reading in file.poll(is_last=is_over):
                    self._take(reading)
        except OSError as error:
            _log.warning("The metrics file can no longer be read: %s", error)
        finally:
            file.close()

    def _await_end(self, command: Command) -> None:
        command.wait()
        try:
            self._end_profiling()
            self._trial.release_gpus()  # here, so that no report delays it
        finally:
            self._evaluations.end()

    def _begin_profiling(self) -> None:
        if self._step_limits is not None:
            self._step_limits.begin()
        elif self._limits is not None and self._measures_whole_run:
            self._limits.begin_run()

    def _end_profiling(self) -> None:
        if self._step_limits is not None:
            self._step_limits.end()
        elif self._limits is not None and self._measures_whole_run:
            self._of_whole_run = self._limits.end_run(self._settings.max_epochs)

    @property
    def _measures_whole_run(self) -> bool:
        """Whether the run itself is all that a power limit can be measured by."""
        return self._settings.target is None and self._plan.is_silent and self._trial.progress is None

    def _attend(self, command: Command) -> None:
        """Report the command's metric until it has ended, and end it when its time has come."""
        while not self._evaluations.has_ended:
            while self._due and monotonic() >= self._due[0][0]:
                self._end(command)
            left = self._due[0][0] - monotonic() if self._due else _SIGNAL_SECONDS
            evaluation = self._evaluations.take(max(0.0, min(left, _SIGNAL_SECONDS)))
            if evaluation is not None:
                self._report(evaluation)

    def _end(self, command: Command) -> None:
        _, number = self._due.pop(0)
        self._is_ended_by_us = True
        if number == signal.SIGKILL:
            command.kill()
        else:
            command.signal(number)

    def _report(self, evaluation: Evaluation) -> None:
        if self._is_decided:
            return
        epoch = evaluation.epoch
        limits = None if self._evaluations.has_ended else self._limits
        mark = None if limits is None else limits.mark(epoch, evaluation.read_at)
        if self._trial.report(evaluation.metric, epoch=epoch) == "continue":
            if limits is not None and not self._evaluations.has_ended:
                limits.take(mark)
            return
        self._is_decided = True
        epoch += self._evaluations.counts_from_0
        used_up = epoch >= self._settings.max_epochs
        self._is_reached = self._settings.has_converged(evaluation.metric, epoch)
        # After its last epoch a command ends by itself, and may have a model to save.
        grace = self._plan.stop_grace_seconds
        stop_at = monotonic() + (grace if used_up else 0.0)
        self._due = [(stop_at, self._plan.stop_signal), (stop_at + grace, signal.SIGKILL)]

    def _conclude(self, code: int, command: Command, ended_by: int | None) -> int:
        if self._is_ended_by_us:
            _log.info(
                "the command was ended: %s",
                "it reached its target" if self._is_reached else "the trial ended before its target",
            )
            return 0 if self._is_reached else STOPPED
        if self._is_decided:
            return own_code(code) if self._is_reached else unconverged_code(code)
        if ended_by is not None:
            raise Interrupted(f"The command was ended by {signal_name(ended_by)}.", unconverged_code(code))
        if code != 0:
            raise failure(code, self._watch, command.oom_kills)
        if (latest := self._evaluations.latest) is None:
            self._end_without_evaluation()
            return 0
        return self._end_undecided(latest)

    def _end_undecided(self, latest: Evaluation) -> int:
        """Return the exit code of a command that ended with 0 though no report was answered "stop"."""
        epochs = latest.epoch + self._evaluations.counts_from_0
        if self._settings.has_converged(latest.metric, epochs):
            return 0
        _log.warning(
            "The command ended by itself after %g of %d epochs, and the run has not converged: the exit code is %d.",
            epochs,
            self._settings.max_epochs,
            STOPPED,
        )
        return STOPPED

    def _end_without_evaluation(self) -> None:
        """Count a successful run of a job without a target as all its epochs; of others nothing is known."""
        if self._settings.target is not None:
            raise CommandEnded(f"No evaluation was found: {self._what_was_there()}", STOPPED)
        if self._of_whole_run is not None:
            self._trial.measured([self._of_whole_run])
        self._trial.report(UNREAD, epoch=self._settings.max_epochs)

    def _what_was_there(self) -> str:
        if (pattern := self._plan.metric_pattern) is not None:
            last = self._watch.last_lines(_MOST_LINES)
            return f"no line of the output matched --metric-pattern {pattern!r}. {_quoted_lines(last)}"
        file = "the output" if self._plan.metrics_file == OUTPUT else f"--metrics-file {self._filled_file}"
        if self._file is not None and not self._file.was_found:
            return f"{file} was not written."
        if not (names := list(self._records.names)[:_MOST_NAMES]):
            return f"{file} has nothing new that is JSON or CSV."
        metric = self._settings.target and self._settings.target.metric
        if metric in names:
            return f"no record of {file} has a number as {metric!r}."
        return f"no record of {file} has {metric!r}; there are: {', '.join(names)}."

    @property
    def _filled_file(self) -> str:
        return fill(self._plan.metrics_file or "", self._values)


def _step_limits(
    trial: RunningTrial, settings: JobSettings, plan: LaunchPlan
) -> tuple[OutputSteps | None, StepLimits | None]:
    """Return what reads the command's steps and measures limits by them: of one batch size, whose steps are alike."""
    if plan.step_pattern is None or len(settings.batch_sizes) > 1:
        return None, None
    steps = OutputSteps(plan.step_pattern)
    examples = plan.examples_per_epoch
    return steps, StepLimits(trial, steps, None if examples is None else examples / trial.batch_size)


def _quoted_lines(lines: Sequence[str]) -> str:
    if len(lines) < _MOST_LINES:
        return f"It has: {', '.join(map(repr, lines))}." if lines else "It has no line."
    return f"Its last lines are: {', '.join(map(repr, lines))}."
