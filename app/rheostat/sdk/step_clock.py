"""Records when training steps end: some hundred nanoseconds a step, and no system call."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import TypeVar

T = TypeVar("T")

StepEnd = tuple[int, int]
"""The number of a step, counted from 1 over the run, and when it ended, on `time.monotonic_ns`."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """The steps since a recording began.

    Attributes:
        ends: The steps, in order.
        breaks: Numbers of the steps that something other than training followed, such as an evaluation.
    """

    ends: list[StepEnd] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)


class StepClock:
    """Counts steps, and records their ends while a recording is on. One thread steps, another one records."""

    def __init__(self) -> None:
        self.steps = 0
        self._record: StepRecord | None = None

    def steps_of(self, loader: Iterable[T]) -> Iterator[T]:
        """Yield the batches of a loader; a step ends when the next batch is requested."""
        try:
            for batch in loader:
                yield batch
                self.step()
        finally:
            self.interrupt()

    def step(self) -> None:
        """Record the end of a step."""
        self.steps += 1
        record = self._record
        if record is not None:
            record.ends.append((self.steps, monotonic_ns()))

    def interrupt(self) -> None:
        """Record that what follows is not training."""
        record = self._record
        if record is not None:
            record.breaks.append(self.steps)

    def record(self) -> None:
        """Begin a recording; an earlier one is dropped."""
        self._record = StepRecord()

    def stop(self) -> None:
        """Stop recording."""
        self._record = None

    def recorded(self) -> StepRecord:
        """Return a copy of the recording up to now."""
        record = self._record
        return StepRecord() if record is None else StepRecord(record.ends[:], record.breaks[:])
