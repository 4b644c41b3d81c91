"""Tells training from what is not, by how long steps take and how regularly the slow ones come back. Pure.

A trainer's loop may step for every small batch whose gradients it accumulates, so that only every n-th step is slow;
or its epochs may take tenths of a second. What comes back like that is a part of training, and is measured in whole
periods. A rare long step contains an evaluation or a stall, and is left out.
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from rheostat.sdk.step_clock import StepEnd

_SECOND = 1_000_000_000

# A step that takes so many times the median, and so much longer, contains something other than an ordinary step.
_LONG_TIMES, _LONG_SECONDS = 5.0, 0.2
# A step that takes so many times the median may be the slow one of a period.
_SLOWER_TIMES = 1.5
_FEWEST_FOR_A_MEDIAN, _MOST_FOR_A_MEDIAN = 3, 25

_OFTEN_STEPS = 20
"""Long steps that come so often are a part of training, however irregular and long they are."""
_LONGEST_PERIOD_STEPS = 128
_LONGEST_DOUBT_NS = 20 * _SECOND
_SHORT_EPOCH_SECONDS = 1.0
"""Where breaks come more often, the time between two of them is too short to measure its energy by itself. It may even
be that all its steps were only sent to the GPU in it, and are waited for in the break."""
_ALIKE_TIMES = 2.0
"""The slow steps of a pattern take at most so many times as long under a lower limit."""
_FORGOTTEN_AFTER_PERIODS = 4


class _Slow(NamedTuple):
    """A step that took longer than others."""

    step: StepEnd
    seconds: float


class _Recurrence:
    """Decides whether slow steps of one kind come back so regularly that they are a part of training.

    Attributes:
        period: Steps from one to the next; 1 while they do not recur.
        changes: How often they were found to recur.

    Args:
        is_regular: Decides it by the latest ones.
        fewest: How many it takes.
    """

    def __init__(self, is_regular: Callable[[Sequence[_Slow]], bool], fewest: int = 3) -> None:
        self.period = 1
        self.changes = 0
        self._is_regular = is_regular
        self._latest: deque[_Slow] = deque(maxlen=fewest)
        self._longest_seconds = 0.0

    def note(self, step: StepEnd, seconds: float) -> bool:
        """Return whether a slow step is a part of training."""
        latest = self._latest
        if latest and step.number - latest[-1].step.number > _FORGOTTEN_AFTER_PERIODS * self.period:
            self.period, self._longest_seconds = 1, 0.0
        latest.append(_Slow(step, seconds))
        if seconds <= _ALIKE_TIMES * self._longest_seconds:
            return True
        if len(latest) < (latest.maxlen or 0) or not self._is_regular(latest):
            return False
        self.period = max(_spacings(latest))
        self._longest_seconds = max(slow.seconds for slow in latest)
        self.changes += 1
        return True


class Rhythm:
    """Follows the steps of a run.

    Attributes:
        usual_seconds: About how long an ordinary step takes; None while there were too few.
    """

    def __init__(self) -> None:
        self.usual_seconds: float | None = None
        self._last: StepEnd | None = None
        self._usual: deque[float] = deque(maxlen=_MOST_FOR_A_MEDIAN)
        self._long = _Recurrence(_come_often_or_periodically)
        self._breaks = _Recurrence(_end_short_epochs)
        self._slower = _Recurrence(_come_periodically, fewest=5)  # more, since many steps are slower by chance
        self._latest_gap: StepEnd | None = None
        self._doubtful_until: StepEnd | None = None

    @property
    def period(self) -> int:
        """Steps after which the pattern of step times repeats; 1 when none is known."""
        return max(self._long.period, self._breaks.period, self._slower.period)

    @property
    def changes(self) -> int:
        """How often something that was left out before was found to be a part of training."""
        return self._long.changes + self._breaks.changes

    @property
    def is_doubtful(self) -> bool:
        """Whether it is too early to say if the latest long step comes back."""
        until, last = self._doubtful_until, self._last
        return until is not None and last is not None and last.number <= until.number and last.end_ns <= until.end_ns

    def follow(self, step: StepEnd) -> float | None:
        """Return how long a step took; None when something else is in it, or the end of the one before is unknown."""
        last, self._last = self._last, step
        if last is None or step.number != last.number + 1:
            self._latest_gap = step
            return None
        seconds = (step.end_ns - last.end_ns) / _SECOND
        usual = self.usual_seconds
        if step.after_break:
            return seconds if self._breaks.note(step, seconds) else None
        if usual is not None and seconds > max(_LONG_TIMES * usual, usual + _LONG_SECONDS):
            return seconds if self._is_training(step, seconds) else None
        self._usual.append(seconds)
        # A median of all steps would cost as much as everything else here.
        if usual is None or step.number % _FEWEST_FOR_A_MEDIAN == 0:
            self.usual_seconds = median(self._usual) if len(self._usual) >= _FEWEST_FOR_A_MEDIAN else None
        if usual is not None and seconds > _SLOWER_TIMES * usual:
            self._slower.note(step, seconds)
        return seconds

    def _is_training(self, step: StepEnd, seconds: float) -> bool:
        """Return whether a long step is a part of training; if it is not known yet, that is doubtful for a period."""
        gap, self._latest_gap, self._doubtful_until = self._latest_gap, step, None
        if self._long.note(step, seconds):
            return True
        if gap is not None and _may_recur(_Slow(gap, 0.0), _Slow(step, seconds)):
            period = step.number - gap.number
            self._doubtful_until = StepEnd(step.number + period + 1, step.end_ns + _LONGEST_DOUBT_NS)
        return False


def _spacings(latest: Sequence[_Slow]) -> list[int]:
    return [later.step.number - earlier.step.number for earlier, later in pairwise(latest)]


def _seconds_between(earlier: _Slow, later: _Slow) -> float:
    """Return the time from one slow step to the begin of the next."""
    return (later.step.end_ns - earlier.step.end_ns) / _SECOND - later.seconds


def _may_recur(earlier: _Slow, later: _Slow) -> bool:
    """Return whether slow steps that go on so would be a part of training."""
    spacing = later.step.number - earlier.step.number
    # An update of the weights takes less time than the batches that it is made of; an evaluation often takes more.
    is_update = spacing <= _LONGEST_PERIOD_STEPS and later.seconds <= _seconds_between(earlier, later)
    return spacing <= _OFTEN_STEPS or is_update


def _come_often_or_periodically(latest: Sequence[_Slow]) -> bool:
    spacings = _spacings(latest)
    is_steady = max(spacings) <= _OFTEN_STEPS or len(set(spacings)) == 1
    return is_steady and all(_may_recur(earlier, later) for earlier, later in pairwise(latest))


def _come_periodically(latest: Sequence[_Slow]) -> bool:
    spacings = _spacings(latest)
    return len(set(spacings)) == 1 and 1 < spacings[0] <= _LONGEST_PERIOD_STEPS


def _end_short_epochs(latest: Sequence[_Slow]) -> bool:
    return all(_seconds_between(earlier, later) < _SHORT_EPOCH_SECONDS for earlier, later in pairwise(latest))
