"""Selects the training steps by which a power limit is measured, from the times at which steps ended. Pure.

A slice is no longer than its precision needs. After a limit is set, steps settle first: clocks follow a limit within
some tenths of a second. Then steps are measured until the standard error of their mean is under one percent. What is
not training, such as an evaluation, cuts a slice into stretches, which are added up; each lies between the ends of two
steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import fmean, median

from rheostat.sdk.step_clock import StepEnd, StepRecord

_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class SliceRules:
    """When a slice has settled and when it is long enough.

    Slow steps settle for ``settle_seconds`` and are measured for ``seconds``; where that many seconds would be more
    than ``settle_steps`` or ``steps``, those are enough, but never less than the shortest times: a GPU's energy counter
    ticks ten times a second, and without a counter its power is averaged over up to a second.

    Attributes:
        settle_seconds: Time to settle, unless ``settle_steps`` pass earlier.
        settle_steps: Steps to settle.
        fewest_settle_steps: Minimum of steps to settle.
        shortest_settle_seconds: Minimum of time to settle.
        seconds: Time to measure, unless ``steps`` pass earlier.
        steps: Steps to measure.
        fewest_steps: Minimum of steps to measure.
        shortest_seconds: Minimum of time to measure.
        longest_seconds: Time after which the mean is accepted at any precision.
        standard_error: Largest standard error of the mean step time, relative to it.
    """

    settle_seconds: float = 2.0
    settle_steps: int = 4
    fewest_settle_steps: int = 3
    shortest_settle_seconds: float = 0.4
    seconds: float = 5.0
    steps: int = 12
    fewest_steps: int = 10
    shortest_seconds: float = 1.0
    longest_seconds: float = 20.0
    standard_error: float = 0.01

    def has_settled(self, steps: int, seconds: float) -> bool:
        """Return whether the clocks have followed the limit."""
        return (
            steps >= self.fewest_settle_steps
            and seconds >= self.shortest_settle_seconds
            and (steps >= self.settle_steps or seconds >= self.settle_seconds)
        )

    def is_enough(self, intervals_seconds: Sequence[float]) -> bool:
        """Return whether the mean of these step times is precise enough."""
        steps, seconds = len(intervals_seconds), sum(intervals_seconds)
        if steps < self.fewest_steps or seconds < self.shortest_seconds:
            return False
        if steps < self.steps and seconds < self.seconds:
            return False
        return _standard_error(intervals_seconds) < self.standard_error or seconds >= self.longest_seconds


def _standard_error(intervals_seconds: Sequence[float]) -> float:
    """Return the standard error of the mean step time, relative to it.

    A step whose end is recorded late makes the next one look short, which leaves the mean as it is: the correlation of
    neighbours is subtracted (variance of the mean of a moving average of order one), down to what the edges contribute.
    """
    mean, count = fmean(intervals_seconds), len(intervals_seconds)
    off = [interval - mean for interval in intervals_seconds]
    variance = sum(one * one for one in off) / (count - 1)
    neighbours = sum(one * other for one, other in pairwise(off)) / (count - 1)
    return sqrt(max(variance + 2 * neighbours, variance / count) / count) / mean


BY_COUNTER = SliceRules()
BY_POWER_SAMPLES = SliceRules(shortest_settle_seconds=2.0, shortest_seconds=5.0)

# A step that takes so many times the median, and so much longer, contains something other than training.
_GAP_TIMES = 5.0
_GAP_SECONDS = 0.2
_FEWEST_FOR_A_MEDIAN, _MOST_FOR_A_MEDIAN = 3, 25


@dataclass(frozen=True, slots=True)
class Stretch:
    """Steps without a break: from the end of ``after_step`` to that of ``last_step``."""

    after_step: int
    last_step: int


@dataclass(frozen=True, slots=True)
class MeasuredSteps:
    """The steps of a record that count.

    Attributes:
        stretches: Where they lie.
        intervals_seconds: The time of each.
    """

    stretches: tuple[Stretch, ...]
    intervals_seconds: tuple[float, ...]

    @property
    def count(self) -> int:
        """How many steps count."""
        return len(self.intervals_seconds)


def find_stretches(record: StepRecord, limit_set_ns: int, rules: SliceRules) -> MeasuredSteps:
    """Return the steps that count: settled ones, without what is not training.

    Args:
        record: Steps and breaks.
        limit_set_ns: When the limit came into force.
        rules: When a limit has settled.
    """
    stretches, intervals = [], []
    for run in _runs([end for end in record.ends if end[1] >= limit_set_ns], set(record.breaks)):
        begun_ns = run[0][1]
        for settled, (_, end_ns) in enumerate(run):
            if rules.has_settled(settled, (end_ns - begun_ns) / _SECOND):
                counting = run[settled:]
                if len(counting) > 1:
                    stretches.append(Stretch(counting[0][0], counting[-1][0]))
                    intervals += [(later[1] - earlier[1]) / _SECOND for earlier, later in pairwise(counting)]
                break
    return MeasuredSteps(tuple(stretches), tuple(intervals))


def _runs(ends: Sequence[StepEnd], breaks: set[int]) -> list[list[StepEnd]]:
    """Split steps where one is missing, at breaks, and where one took much too long."""
    runs: list[list[StepEnd]] = []
    usual: list[float] = []
    for end in ends:
        last = runs[-1][-1] if runs else None
        if last is None or end[0] != last[0] + 1 or last[0] in breaks:
            runs.append([end])
            continue
        seconds = (end[1] - last[1]) / _SECOND
        if len(usual) >= _FEWEST_FOR_A_MEDIAN:
            middle = median(usual[-_MOST_FOR_A_MEDIAN:])
            if seconds > max(_GAP_TIMES * middle, middle + _GAP_SECONDS):
                runs.append([end])
                continue
        usual.append(seconds)
        runs[-1].append(end)
    return runs
