"""The integral of a GPU's power over time, from readings of its power."""

from array import array
from bisect import bisect_right

SECOND = 1_000_000_000

# Ten minutes of samples; for longer windows the caller adds up shorter ones, or takes differences of the count.
_KEPT_POINTS = 30_000
# Between readings further apart than this, power may have been anything.
_SPARSE_SECONDS = 0.06
_SPARSE_ERROR = 0.1
GAP_NS = SECOND
"""Between readings further apart than this, the energy at a moment is not known."""


class PowerCurve:
    """Adds up energy between power readings, taking power to change linearly from one to the next.

    Not thread-safe.

    Attributes:
        unbroken_since_ns: Since when there was no gap.

    Args:
        most_watts: The most that the GPU draws.
    """

    def __init__(self, most_watts: float) -> None:
        self._most_watts = most_watts
        self._times_ns = array("q")
        self._watts = array("d")
        self._joules = array("d")
        self._variances = array("d")
        self._head: tuple[int, float] | None = None
        self.unbroken_since_ns = 0

    def __len__(self) -> int:
        """Return how many readings are kept."""
        return len(self._times_ns)

    @property
    def begin_ns(self) -> int:
        """When the first reading was taken."""
        return self._times_ns[0]

    @property
    def end_ns(self) -> int:
        """When the last reading was taken."""
        return self._times_ns[-1]

    def add(self, time_ns: int, watts: float, joules: float | None = None) -> None:
        """Add a reading that is later than all others.

        Args:
            time_ns: When it was taken.
            watts: The power.
            joules: The energy since the last reading, where that is known better.
        """
        total = variance = 0.0
        if not self._times_ns or time_ns - self._times_ns[-1] > GAP_NS:
            self.unbroken_since_ns = time_ns
        if self._times_ns:
            seconds = (time_ns - self._times_ns[-1]) / SECOND
            # A step of the power may lie anywhere between two readings.
            variance = ((watts - self._watts[-1]) * seconds) ** 2 / 12
            if seconds > GAP_NS / SECOND:
                variance += (self._most_watts / 3 * seconds) ** 2
            elif seconds > _SPARSE_SECONDS:
                variance += (_SPARSE_ERROR * max(watts, self._watts[-1]) * seconds) ** 2
            total = self._joules[-1] + ((watts + self._watts[-1]) / 2 * seconds if joules is None else joules)
            variance += self._variances[-1]
        self._times_ns.append(time_ns)
        self._watts.append(watts)
        self._joules.append(total)
        self._variances.append(variance)
        if len(self._times_ns) > _KEPT_POINTS + _KEPT_POINTS // 4:
            for column in (self._times_ns, self._watts, self._joules, self._variances):
                del column[:-_KEPT_POINTS]

    def set_head(self, time_ns: int, watts: float) -> None:
        """Note the power at a moment after the last reading, until a later reading takes its place."""
        self._head = (time_ns, watts)

    def joules_at(self, time_ns: int) -> float:
        """Return the energy from the first reading to a moment; after the last reading power stays as it was."""
        left = bisect_right(self._times_ns, time_ns) - 1
        if left < 0:
            return self._joules[0] if self._joules else 0.0
        seconds = (time_ns - self._times_ns[left]) / SECOND
        if left + 1 == len(self._times_ns):
            return self._joules[left] + self._joules_after(time_ns, seconds)
        width = (self._times_ns[left + 1] - self._times_ns[left]) / SECOND
        before, after = self._watts[left], self._watts[left + 1]
        whole = self._joules[left + 1] - self._joules[left]
        trapezoid = (before + after) / 2 * width
        if trapezoid <= 0:
            return self._joules[left] + whole * seconds / width
        return self._joules[left] + whole * (before + (after - before) / 2 * seconds / width) * seconds / trapezoid

    def _joules_after(self, time_ns: int, seconds: float) -> float:
        watts = self._watts[-1]
        if self._head is None or self._head[0] <= self.end_ns:
            return watts * seconds
        width, head = (self._head[0] - self.end_ns) / SECOND, self._head[1]
        if time_ns <= self._head[0]:
            return (watts + (head - watts) / 2 * seconds / width) * seconds
        return (watts + head) / 2 * width + head * (seconds - width)

    def variance_at(self, time_ns: int) -> float:
        """Return the variance of the energy up to a moment, in square joules; take differences."""
        left = max(0, bisect_right(self._times_ns, time_ns) - 1)
        if left + 1 == len(self._times_ns):
            return self._variances[left]
        part = (time_ns - self._times_ns[left]) / (self._times_ns[left + 1] - self._times_ns[left])
        return self._variances[left] + max(0.0, part) * (self._variances[left + 1] - self._variances[left])

    def edge_seconds(self, time_ns: int) -> float:
        """Return how far apart the readings around a moment are."""
        left = bisect_right(self._times_ns, time_ns) - 1
        if left + 1 < len(self._times_ns):
            return (self._times_ns[left + 1] - self._times_ns[left]) / SECOND
        return (time_ns - self.end_ns) / SECOND
