"""Finding out when a counter ticks, from readings of one whose ticks are known."""

from collections.abc import Callable
from functools import partial

import pytest

from rheostat.agent.tick_phase import TICK_NS, CounterReading, TickPhase

MS = 1_000_000
PHASE_NS = 37 * MS


def tick_before(moment_ns: int) -> int:
    return moment_ns - (moment_ns - PHASE_NS) % TICK_NS


def read(begin_ns: int, took_ns: int = 3 * MS, ticks: Callable[[int], int] = tick_before) -> CounterReading:
    """Read a counter that shows the nanoseconds of its last tick, in the middle of the call."""
    return CounterReading(begin_ns, begin_ns + took_ns, ticks(begin_ns + took_ns // 2))


def error_at(reading: CounterReading, moment_ns: int) -> float:
    return reading.joules - moment_ns


def follow(
    phase: TickPhase, reading: CounterReading, readings: int, ticks: Callable[[int], int]
) -> list[tuple[int, int]]:
    """Read at telling moments, and return between which bounds the ticks were expected, relative to where they were."""
    found = []
    for index in range(readings):
        reading = read(phase.telling_ns(reading.end_ns + 40 * MS), (3 + index % 4) * MS, ticks)
        bounds_ns = phase.place(reading, partial(error_at, reading))
        assert bounds_ns is not None
        low_ns, high_ns = bounds_ns
        found.append((low_ns - round(reading.joules), high_ns - round(reading.joules)))
    return found


@pytest.mark.parametrize("begin_ms", range(1000, 1100, 13))
def test_a_few_readings_at_telling_moments_find_the_ticks(begin_ms: int) -> None:
    first = read(begin_ms * MS)
    assert not TickPhase(first).is_known
    phase = TickPhase(first)
    *_, last = follow(phase, first, 10, tick_before)
    assert phase.is_known
    assert last[0] <= 0 <= last[1]
    assert last[1] - last[0] < 12 * MS


@pytest.mark.parametrize("begin_ms", range(1000, 1100, 13))
def test_a_burst_of_readings_finds_the_ticks_without_knowing_power(begin_ms: int) -> None:
    reading = read(begin_ms * MS)
    phase = TickPhase(reading)
    for index in range(40):
        reading = read(reading.end_ns + (2 if index != 3 else 150) * MS, (2 + index % 2) * MS)  # once it is held up
        phase.look(reading)
    assert phase.is_known
    assert abs(phase.last_before(3000 * MS) - tick_before(3000 * MS)) < 4 * MS
    assert phase.clear_ns(3000 * MS) - tick_before(phase.clear_ns(3000 * MS)) == pytest.approx(50 * MS, abs=4 * MS)


@pytest.mark.parametrize(("part", "is_open"), [(0.4, True), (0.05, False)])
def test_a_tick_that_power_does_not_tell_from_the_one_before_is_left_open(part: float, *, is_open: bool) -> None:
    reading = read(1000 * MS)
    phase = TickPhase(reading)
    for _ in range(40):
        reading = read(reading.end_ns + 2 * MS, 2 * MS)
        phase.look(reading)
    telling_ns = phase.telling_ns(3000 * MS)
    odd = CounterReading(telling_ns, telling_ns + 3 * MS, tick_before(telling_ns) + part * TICK_NS)
    assert (phase.place(odd, partial(error_at, odd)) is None) == is_open


def test_ticks_that_drift_are_followed() -> None:
    def drifting(moment_ns: int) -> int:
        tick_ns = round(TICK_NS * 1.0001)
        return moment_ns - (moment_ns - PHASE_NS) % tick_ns

    first = read(1000 * MS, ticks=drifting)
    found = follow(TickPhase(first), first, 300, drifting)
    assert all(low_ns - 3 * MS <= 0 <= high_ns + 3 * MS for low_ns, high_ns in found[20:])


def test_doubt_widens_the_bounds_until_readings_fit_in_again() -> None:
    first = read(1000 * MS)
    phase = TickPhase(first)
    follow(phase, first, 12, tick_before)
    phase.doubt(20 * MS)
    last = read(phase.telling_ns(4000 * MS))
    bounds_ns = phase.place(last, partial(error_at, last))
    assert bounds_ns is not None
    low_ns, high_ns = bounds_ns
    assert high_ns - low_ns > 15 * MS
    follow(phase, last, 40, tick_before)
    assert phase.is_known


def test_the_last_tick_before_a_moment_is_expected_where_ticks_are() -> None:
    first = read(1000 * MS)
    phase = TickPhase(first)
    follow(phase, first, 12, tick_before)
    assert phase.last_before(5080 * MS) == pytest.approx(5037 * MS, abs=6 * MS)
