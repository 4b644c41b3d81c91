"""Measures one slice of a survey: steps that are made for nothing else, so that all that is between them counts.

In training, what takes longer than a step may be an evaluation; here it is a part of the steps, as a data loader that
dominates them is. Only the first step of a new trainer is left out, and whatever else is slow at its begin.
"""

from dataclasses import dataclass, replace
from statistics import median
from typing import Protocol

from rheostat.sdk.slices import BY_COUNTER, BY_POWER_READINGS, RunningMean, SliceRules

_SECOND = 1_000_000_000
_SLOW_START_TIMES = 1.5
"""A step that takes so many times the median belongs to the start where it comes first."""
_FEWEST_FOR_A_MEDIAN = 3
_STANDARD_ERROR = 0.02
"""The recommender takes a survey's figures to be right within 3 %."""


def survey_rules(energy_source: str | None, longest_seconds: float) -> SliceRules:
    """Return when a slice of a survey is long enough: with slow steps, few of them are.

    Args:
        energy_source: How the energy is measured; None: it is not.
        longest_seconds: How long the server lets a slice be, unless the energy needs longer.
    """
    rules = BY_POWER_READINGS if energy_source == "power_readings" else BY_COUNTER
    return replace(
        rules, fewest_settle_steps=1, fewest_steps=2, longest_seconds=longest_seconds, standard_error=_STANDARD_ERROR
    )


@dataclass(frozen=True, slots=True)
class Mark:
    """The end of a step.

    Attributes:
        steps: How many have been made, on any scale that goes on.
        end_ns: When it ended, on `time.monotonic_ns`.
        is_first: Whether the trainer was made anew for it.
    """

    steps: float
    end_ns: int
    is_first: bool = False


class StepSource(Protocol):
    """Something that makes steps."""

    def next_mark(self, give_up_at: float) -> Mark | None:
        """Return the end of the next step; None: that takes longer than up to a moment of `time.monotonic`."""

    def completed(self, mark: Mark) -> Mark:
        """Return the end of a step with all the work that it sent to the GPU."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Steps that were measured.

    Attributes:
        steps: How many.
        windows_ns: When they were made: begins and ends.
    """

    steps: float
    windows_ns: tuple[tuple[int, int], ...]

    @property
    def time_seconds(self) -> float:
        """How long they took."""
        return sum(until - since for since, until in self.windows_ns) / _SECOND


class SliceMeter:
    """Takes steps until they are enough to measure a batch size by, under the limit in force.

    Args:
        source: Makes the steps.
        rules: When they have settled and are enough.
    """

    def __init__(self, source: StepSource, rules: SliceRules) -> None:
        self._source = source
        self._rules = rules
        self._settled_steps, self._settled_seconds = 0.0, 0.0
        self._is_anew = False
        self._begin: Mark | None = None
        self._last: Mark | None = None
        self._count_anew()

    def _count_anew(self) -> None:
        self._mean = RunningMean()
        self._times: list[float] = []
        self._before = Slice(0.0, ())

    def measure(self, give_up_at: float) -> Slice | None:
        """Return a slice; None: there were too few steps up to a moment of `time.monotonic`."""
        while (mark := self._source.next_mark(give_up_at)) is not None:
            self._take(mark)
            if (counted := self._counted()) is None or not self._is_enough(counted):
                continue
            self._last = self._source.completed(mark)
            if self._is_anew or not self._started_slowly():
                return self._counted()
            self._count_anew()
            self._begin, self._is_anew = self._last, True
        counted = self._counted()
        rules = self._rules
        if counted is None or counted.steps < rules.fewest_steps or counted.time_seconds < rules.shortest_seconds:
            return None
        return counted

    def _take(self, mark: Mark) -> None:
        last = self._last
        if mark.is_first or last is None:
            self._before = self._counted() or self._before
            self._begin, self._last = mark if self._has_settled() else None, mark
            return
        self._last = mark
        steps, seconds = mark.steps - last.steps, (mark.end_ns - last.end_ns) / _SECOND
        if self._begin is not None:
            self._mean.add(seconds / steps)
            self._times.append(seconds / steps)
            return
        self._settled_steps, self._settled_seconds = self._settled_steps + steps, self._settled_seconds + seconds
        if self._has_settled():
            self._last = self._begin = self._source.completed(mark)

    def _has_settled(self) -> bool:
        return self._rules.has_settled(int(self._settled_steps), self._settled_seconds)

    def _counted(self) -> Slice | None:
        """Return the steps that count so far; None: there are none."""
        begin, last, before = self._begin, self._last, self._before
        if begin is None or last is None or last.steps <= begin.steps:
            return before if before.steps else None
        return Slice(before.steps + last.steps - begin.steps, (*before.windows_ns, (begin.end_ns, last.end_ns)))

    def _is_enough(self, counted: Slice) -> bool:
        return self._rules.is_enough(int(counted.steps), counted.time_seconds, self._mean.standard_error())

    def _started_slowly(self) -> bool:
        times = self._times
        return len(times) >= _FEWEST_FOR_A_MEDIAN and times[0] > _SLOW_START_TIMES * median(times)
