"""Selects the training steps by which a power limit is measured, from the times at which steps ended. Pure.

A slice is no longer than its precision needs. After a limit is set, steps settle first: clocks follow a limit within
some tenths of a second. Then steps are measured until the standard error of their mean is under one percent. What is
not training cuts a slice into stretches, which are added up; each lies between the ends of two steps.
"""

from dataclasses import dataclass
from math import ceil, inf, sqrt

from rheostat.sdk.rhythm import Rhythm
from rheostat.sdk.step_clock import StepEnd

_SECOND = 1_000_000_000
_FEWEST_PERIODS = 4
_UNCORRELATED = 0.1
_BLOCK_SECONDS = 0.05
"""Faster steps are judged by the mean of several: what delays one of them lets others catch up."""


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
        settle_share: After a break, no more than this share of the steps between two breaks settle.
        seconds: Time to measure, unless ``steps`` pass earlier.
        steps: Steps to measure.
        fewest_steps: Minimum of steps to measure.
        shortest_seconds: Minimum of time to measure.
        longest_seconds: Time after which the mean is accepted at any precision.
        standard_error: Largest standard error of the mean step time, relative to it.
        give_up_seconds: A slice that is not long enough after this time and after ``give_up_steps`` never will be.
        give_up_steps: See there.
    """

    settle_seconds: float = 2.0
    settle_steps: int = 4
    fewest_settle_steps: int = 3
    shortest_settle_seconds: float = 0.4
    settle_share: float = 0.25
    seconds: float = 5.0
    steps: int = 12
    fewest_steps: int = 10
    shortest_seconds: float = 1.0
    longest_seconds: float = 20.0
    standard_error: float = 0.01
    give_up_seconds: float = 120.0
    give_up_steps: int = 200

    def has_settled(self, steps: int, seconds: float) -> bool:
        """Return whether the clocks have followed the limit."""
        return (
            steps >= self.fewest_settle_steps
            and seconds >= self.shortest_settle_seconds
            and (steps >= self.settle_steps or seconds >= self.settle_seconds)
        )

    def is_enough(self, steps: int, seconds: float, standard_error: float) -> bool:
        """Return whether the mean of so many steps is precise enough."""
        if steps < self.fewest_steps or seconds < self.shortest_seconds:
            return False
        if seconds >= self.longest_seconds:
            return True
        return standard_error < self.standard_error and (steps >= self.steps or seconds >= self.seconds)

    def should_give_up(self, steps: int, seconds: float) -> bool:
        """Return whether a slice is hopeless, so many steps and so much time after its limit was set."""
        return steps >= self.give_up_steps and seconds >= self.give_up_seconds


BY_COUNTER = SliceRules()
BY_POWER_READINGS = SliceRules(shortest_settle_seconds=2.0, shortest_seconds=5.0)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Steps without a break: from the end of ``after_step`` to that of ``last_step``."""

    after_step: int
    last_step: int


@dataclass(slots=True)
class RunningMean:
    """The mean of times, and how precise it is, without keeping them."""

    count: int = 0
    _first: float = 0.0
    _last: float = 0.0
    _sum: float = 0.0
    _squares: float = 0.0
    _products: float = 0.0

    def add(self, seconds: float) -> None:
        """Take one more."""
        # Differences to the first one: squares of the times themselves would cancel out badly.
        if self.count == 0:
            self._first = seconds
        off = seconds - self._first
        self._products += off * self._last
        self.count += 1
        self._sum, self._squares, self._last = self._sum + off, self._squares + off * off, off

    def standard_error(self) -> float:
        """Return the standard error of the mean, relative to it.

        A step whose end is recorded late makes the next one look short, which leaves the mean as it is: the
        correlation of neighbours is subtracted (variance of the mean of a moving average of order one), but not all of
        it, because it looks strong by chance where there are few.
        """
        count = self.count
        if count <= 1:
            return inf
        mean = self._sum / count
        variance = max(0.0, self._squares - count * mean * mean) / (count - 1)
        neighbours = (self._products - mean * (2 * self._sum - self._last) + (count - 1) * mean * mean) / (count - 1)
        return sqrt(max(variance + 2 * neighbours, _UNCORRELATED * variance) / count) / (self._first + mean)


class StepSlice:
    """The steps by which one limit is measured, as they come.

    Attributes:
        stretches: The steps that count.
        count: How many they are.

    Args:
        rules: When it has settled and is long enough.
        limit_set_ns: When the limit came into force.
        rhythm: Of the run.
    """

    def __init__(self, rules: SliceRules, limit_set_ns: int, rhythm: Rhythm) -> None:
        self._rules = rules
        self._limit_set_ns = limit_set_ns
        self._rhythm = rhythm
        self._steps, self._seconds = 0, 0.0
        self._settled_steps, self._settled_seconds = 0, 0.0
        self._most_settle_steps: float = inf
        self._run_steps = self._after_step = 0
        self._count_from_here()

    def _count_from_here(self) -> None:
        self.stretches: list[Stretch] = []
        self.count = 0
        self._period, self._changes = self._rhythm.period, self._rhythm.changes
        self._counted_seconds = 0.0
        self._mean = RunningMean()
        self._part_steps, self._part_seconds, self._part_last = 0, 0.0, 0

    def is_enough(self) -> bool:
        """Return whether the steps are enough to measure the limit by."""
        has_few_periods = self._period > 1 and self._mean.count < _FEWEST_PERIODS
        error = inf if has_few_periods else self._mean.standard_error()
        return self._rules.is_enough(self.count, self._counted_seconds, error)

    def is_hopeless(self) -> bool:
        """Return whether it has taken too long."""
        return self._rules.should_give_up(self._steps, self._seconds)

    def add(self, step: StepEnd) -> None:
        """Take the next step of the run."""
        seconds = self._rhythm.follow(step)
        if step.end_ns < self._limit_set_ns:
            return
        if self._rhythm.changes != self._changes or self._rhythm.period > self._period:
            self._count_from_here()
            self._after_step = step.number - 1
        self._steps, self._seconds = self._steps + 1, (step.end_ns - self._limit_set_ns) / _SECOND
        if seconds is None or self._steps == 1:
            self._cut()
            self._after_step = step.number
            return
        self._run_steps += 1
        if self._has_settled():
            self._measure(step.number, seconds)
        else:
            self._settled_steps, self._settled_seconds = self._settled_steps + 1, self._settled_seconds + seconds
            self._after_step = step.number

    def _has_settled(self) -> bool:
        return self._settled_steps >= self._most_settle_steps or self._rules.has_settled(
            self._settled_steps, self._settled_seconds
        )

    def _cut(self) -> None:
        """Leave out what is not training; a limit that had not settled goes on to."""
        if self._part_steps and self._period == 1:
            self._count_part()
        if self._has_settled():
            self._settled_steps, self._settled_seconds = 0, 0.0
            self._most_settle_steps = int(self._rules.settle_share * self._run_steps)
        self._run_steps = 0
        self._part_steps, self._part_seconds = 0, 0.0

    def _measure(self, number: int, seconds: float) -> None:
        if self._part_steps == 0 and self._mean.count == 0:
            period_seconds = self._period * self._seconds / self._steps
            self._block_steps = self._period * ceil(_BLOCK_SECONDS / period_seconds)
        self._part_steps, self._part_seconds = self._part_steps + 1, self._part_seconds + seconds
        self._part_last = number
        if self._part_steps == self._block_steps:
            self._mean.add(self._part_seconds)
            self._count_part()

    def _count_part(self) -> None:
        """Count some steps that are a whole number of periods."""
        self.count, self._counted_seconds = self.count + self._part_steps, self._counted_seconds + self._part_seconds
        self._part_steps, self._part_seconds = 0, 0.0
        if self.stretches and self.stretches[-1].last_step == self._after_step:
            self._after_step = self.stretches.pop().after_step
        self.stretches.append(Stretch(self._after_step, self._part_last))
        self._after_step = self._part_last
