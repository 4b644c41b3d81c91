"""From the wall-clock stamps of a driver's power samples to CLOCK_MONOTONIC.

The wall clock may be set at any time, and after a suspend it is ahead of CLOCK_MONOTONIC: samples stamped before
that are then told from later ones by the jump between their stamps.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median

# A smaller change between two looks is a clock that is being slewed.
_SET_NS = 5_000_000
# How old the newest sample may be.
_NEWEST_NS = 60_000_000


class SampleClock:
    """Converts stamps.

    Args:
        clock_ns: CLOCK_MONOTONIC in nanoseconds.
        wall_ns: The wall clock in nanoseconds.
    """

    def __init__(self, clock_ns: Callable[[], int], wall_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._wall_ns = wall_ns
        self._offset_ns = wall_ns() - clock_ns()
        self._last: tuple[int, int] | None = None
        self._reads_all = True

    def since_us(self) -> int:
        """Return since which stamp to read samples; 0: all, as later ones may have earlier stamps."""
        jump_ns = self._wall_ns() - self._clock_ns() - self._offset_ns
        return 0 if self._last is None or self._reads_all or abs(jump_ns) >= _SET_NS else self._last[0] - 1

    def place(self, samples: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return the samples that were not seen before, oldest first, with the times when they were taken.

        Args:
            samples: The ring's samples after `since_us`, oldest first: their stamps in microseconds, and their values.
        """
        now_ns = self._clock_ns()
        offset_ns = self._wall_ns() - now_ns
        jump_ns, self._offset_ns = offset_ns - self._offset_ns, offset_ns
        # Stamps go back when the clock is set back: what matters is the order in the ring.
        seen = samples.index(self._last) if self._last in samples else None
        # Where none is new, the clock may have been set back after it was looked at.
        self._reads_all = not samples or samples[-1] == self._last
        self._last = samples[-1] if samples else self._last
        times_ns = [stamp * 1000 - offset_ns for stamp, _ in samples]
        if abs(jump_ns) >= _SET_NS and times_ns:
            self._reads_all = True
            set_at = _first_after(times_ns[seen or 0 :], jump_ns, now_ns) + (seen or 0)
            times_ns = [time + jump_ns if index < set_at else time for index, time in enumerate(times_ns)]
        first = 0 if seen is None else seen + 1
        return [(time, value) for time, (_, value) in zip(times_ns[first:], samples[first:], strict=True)]


def _first_after(times_ns: Sequence[int], jump_ns: int, now_ns: int) -> int:
    """Return the index of the first sample that was stamped after the clock was set."""
    gaps_ns = [after - before for before, after in pairwise(times_ns)]
    usual_ns = median(gaps_ns) if gaps_ns else 0
    errors = [(abs(gap - usual_ns - jump_ns), index) for index, gap in enumerate(gaps_ns, 1)]
    if errors and (best := min(errors))[0] < abs(jump_ns) / 2:
        return best[1]
    return 0 if 0 <= now_ns - times_ns[-1] < _NEWEST_NS else len(times_ns)
