"""Training runs in a time of their own: what a clock would have recorded of them."""

from collections.abc import Iterable, Iterator

from rheostat.sdk.rhythm import Rhythm
from rheostat.sdk.slices import SliceRules, StepSlice
from rheostat.sdk.step_clock import StepEnd

SECOND = 1_000_000_000


def ends(seconds: Iterable[float], breaks: Iterable[int] = ()) -> Iterator[StepEnd]:
    """Steps that take so long, one after another, and the numbers of those with a break before them."""
    end, after_break = 0.0, set(breaks)
    for number, one in enumerate(seconds, start=1):
        end += one
        yield StepEnd(number, round(end * SECOND), number in after_break)


def accumulated(updates: int, batches: int, batch_seconds: float, update_seconds: float) -> list[float]:
    """Batches whose gradients are accumulated, the last of each update being slow."""
    return [*[batch_seconds] * (batches - 1), update_seconds] * updates


class Sliced:
    """A slice that took steps until it was enough, or they came to an end.

    Attributes:
        slice: The slice.
        mean_seconds: The mean step time that is measured.
        last: The last step that it took.
    """

    def __init__(
        self,
        steps: Iterable[StepEnd],
        rules: SliceRules,
        limit_set: float = 0.0,
        rhythm: Rhythm | None = None,
        *,
        is_certain: bool = False,
    ) -> None:
        rhythm = rhythm or Rhythm()
        self.slice = StepSlice(rules, round(limit_set * SECOND), rhythm)
        times = {}
        self.last = 0
        for step in steps:
            times[step.number] = step.end_ns
            self.slice.add(step)
            self.last = step.number
            is_enough = self.slice.is_enough() and not (is_certain and rhythm.is_doubtful)
            if is_enough or self.slice.is_hopeless():
                break
        self.stretches = [(stretch.after_step, stretch.last_step) for stretch in self.slice.stretches]
        total = sum(times[last] - times[after] for after, last in self.stretches)
        self.mean_seconds = total / SECOND / max(self.slice.count, 1)
