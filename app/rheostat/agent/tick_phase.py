"""When an energy counter ticks, found out by reading it a few times.

A counter shows the energy at its last tick. Each reading says that the tick whose energy it shows was before the end of
the call, and that the next one was after its begin. At first a burst of readings tells ticks by the changes of what is
shown; later, readings at the moment in the middle of what is still possible halve it each time.
"""

from collections.abc import Callable
from dataclasses import dataclass

from rheostat.agent.power_curve import SECOND

TICK_NS = SECOND // 10
# Ticks are irregular by so much (96.8 to 103.1 ms were measured, docs/hardware.md), and drift at least by so much.
_JITTER_NS = 1_500_000
_LEAST_DRIFT = 1e-4
# Where a reading shows more drift, that is expected from then on, and less with each reading that does not.
_DRIFT_KEPT = 0.9
_KNOWN_NS = 8_000_000
# Whether the tick or the one before was read is open where power tells them apart by less than this factor. It is
# clear half way between two ticks if these are known that well.
_CLEAR, _CLEARED_NS = 4.0, TICK_NS // 3


@dataclass(frozen=True, slots=True)
class CounterReading:
    """What the counter showed at some moment of a call."""

    begin_ns: int
    end_ns: int
    joules: float


class TickPhase:
    """Where the ticks of a counter lie in time: at one of them plus a multiple of a tenth of a second.

    Args:
        first: The first reading.
    """

    def __init__(self, first: CounterReading) -> None:
        self._passed_ns = 1
        self._drift = _LEAST_DRIFT
        self._begin(first)

    def _begin(self, first: CounterReading) -> None:
        self._low_ns, self._high_ns = first.begin_ns - TICK_NS, first.end_ns
        self._seen_ns = first.end_ns
        # The latest of the first readings, and the number of the tick whose energy it showed.
        self._latest, self._latest_tick = first, 0

    @property
    def is_known(self) -> bool:
        """Whether ticks are known well enough to compare energies at them."""
        return self._high_ns - self._low_ns <= _KNOWN_NS

    @property
    def _middle_ns(self) -> int:
        return (self._low_ns + self._high_ns) // 2

    def telling_ns(self, after_ns: int) -> int:
        """Return when to begin a reading, after a moment, to learn most."""
        return after_ns + (self._middle_ns - _JITTER_NS - after_ns) % TICK_NS

    def last_before(self, moment_ns: int) -> int:
        """Return when the last tick before a moment is expected to have been."""
        return moment_ns - (moment_ns - self._middle_ns) % TICK_NS

    def clear_ns(self, after_ns: int) -> int:
        """Return when to begin a reading, after a moment, so that it is clear which tick it shows."""
        return after_ns + (self._middle_ns + TICK_NS // 2 - after_ns) % TICK_NS

    def look(self, reading: CounterReading) -> None:
        """Learn from a reading soon after the last one: while the counter shows the same, it has not ticked."""
        if reading.end_ns - self._latest.begin_ns >= TICK_NS - 2 * _JITTER_NS:
            self._begin(reading)  # it may have ticked twice
            return
        tick = self._latest_tick + (reading.joules != self._latest.joules)
        if self._low_ns + tick * TICK_NS <= reading.end_ns and reading.begin_ns <= self._high_ns + (tick + 1) * TICK_NS:
            self._learn(reading, tick)
        self._latest, self._latest_tick = reading, tick

    def place(self, reading: CounterReading, error_at: Callable[[int], float]) -> tuple[int, int] | None:
        """Return between which moments the tick was whose energy was read, and learn from it; None: that is not clear.

        Args:
            reading: The reading.
            error_at: Tells how far the energy read is from what is expected at a moment.
        """
        earliest = -((self._high_ns + TICK_NS - reading.begin_ns) // TICK_NS)
        latest = (reading.end_ns - self._low_ns) // TICK_NS
        ticks = range(earliest, max(earliest, latest) + 1)
        errors = sorted((abs(error_at(self._middle_ns + number * TICK_NS)), number) for number in ticks)
        is_cleared_later = self._high_ns - self._low_ns <= _CLEARED_NS
        if is_cleared_later and len(errors) > 1 and errors[1][0] < _CLEAR * errors[0][0]:
            return None
        tick = errors[0][1]
        self._learn(reading, tick)
        return self._low_ns + tick * TICK_NS - _JITTER_NS, self._high_ns + tick * TICK_NS + _JITTER_NS

    def doubt(self, by_ns: float) -> None:
        """Expect more drift: the last reading's energy was off by more than bounds and power explain.

        Args:
            by_ns: How far off, as the time in which that energy is used.
        """
        self._drift += by_ns / self._passed_ns

    def _learn(self, reading: CounterReading, tick: int) -> None:
        """Narrow the bounds, after they have widened with the time since the last reading."""
        passed_ns = self._passed_ns = max(1, reading.end_ns - self._seen_ns)
        low_ns = self._low_ns - round(self._drift * passed_ns)
        high_ns = self._high_ns + round(self._drift * passed_ns)
        earliest_ns, latest_ns = reading.begin_ns - (tick + 1) * TICK_NS, reading.end_ns - tick * TICK_NS
        missed_ns = max(earliest_ns - high_ns, low_ns - latest_ns, 0)
        self._drift = max(_LEAST_DRIFT, _DRIFT_KEPT * self._drift)
        if missed_ns > 2 * _JITTER_NS:
            self._drift += missed_ns / passed_ns
        room_ns = max(missed_ns, 2 * _JITTER_NS)
        if earliest_ns > high_ns:
            low_ns, high_ns = earliest_ns, earliest_ns + room_ns
        elif latest_ns < low_ns:
            low_ns, high_ns = latest_ns - room_ns, latest_ns
        else:
            low_ns, high_ns = max(low_ns, earliest_ns), min(high_ns, latest_ns)
        self._low_ns, self._high_ns, self._seen_ns = low_ns, min(high_ns, low_ns + TICK_NS), reading.end_ns
