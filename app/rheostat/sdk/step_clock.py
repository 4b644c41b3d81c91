"""Records when training steps end: some hundred nanoseconds a step, and no system call."""

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import monotonic_ns
from typing import NamedTuple, TypeVar

T = TypeVar("T")

_RING = 1 << 17
"""Steps that are remembered, a power of two: a megabyte. At 1 ms a step they are two minutes."""
_MASK = _RING - 1
_BREAKS = 1024


class StepEnd(NamedTuple):
    """The end of a step.

    Attributes:
        number: Of the step, counted from 1 over the run.
        end_ns: When it ended, on `time.monotonic_ns`.
        after_break: Whether something other than training came before it, such as an evaluation.
    """

    number: int
    end_ns: int
    after_break: bool = False


class StepClock:
    """Counts steps and remembers when the latest ended. One thread steps, another one reads.

    Args:
        on_first_step: Called once, with the time on `time.monotonic_ns` when the first step begins.
    """

    def __init__(self, on_first_step: Callable[[int], None] = lambda began_ns: None) -> None:
        self.steps = 0
        self._has_begun = False
        self._on_first_step = on_first_step
        self._ends = array("q", bytes(8 * _RING))
        self._breaks: deque[int] = deque(maxlen=_BREAKS)
        self._read = 0

    def steps_of(self, loader: Iterable[T]) -> Iterator[T]:
        """Yield the batches of a loader; a step ends when the next batch is requested."""
        try:
            for batch in loader:
                self.begin()
                yield batch
                self.step()
        finally:
            self.interrupt()

    def begin(self) -> None:
        """Record that a step begins, if it is the first."""
        if not self._has_begun:
            self._has_begun = True
            self._on_first_step(monotonic_ns())

    def step(self) -> None:
        """Record the end of a step."""
        number = self.steps + 1
        self._ends[number & _MASK] = monotonic_ns()
        self.steps = number  # last, so that a reader finds the time of every step that it sees

    def interrupt(self) -> None:
        """Record that what follows is not training."""
        self._breaks.append(self.steps)

    def new_steps(self) -> list[StepEnd]:
        """Return the steps since the last call, without any that are no longer remembered."""
        last = self.steps
        breaks = self._take_breaks(last)
        numbers = range(max(self._read + 1, last - _RING // 2), last + 1)
        self._read = last
        return [StepEnd(number, self._ends[number & _MASK], number - 1 in breaks) for number in numbers]

    def end_ns(self, number: int) -> int | None:
        """Return when a step ended; None when it has not ended, or is no longer remembered."""
        end_ns = self._ends[number & _MASK]
        return end_ns if self.steps - _RING // 2 <= number <= self.steps else None

    def _take_breaks(self, last: int) -> set[int]:
        """Return the steps before ``last`` after which training was interrupted, once each."""
        breaks = set()
        while self._breaks and self._breaks[0] < last:
            breaks.add(self._breaks.popleft())
        return breaks
