import random
from itertools import pairwise

import pytest

from rheostat.sdk.slices import BY_COUNTER, BY_POWER_SAMPLES, MeasuredSteps, SliceRules, find_stretches
from rheostat.sdk.step_clock import StepEnd, StepRecord

SECOND = 1_000_000_000


def steps(count: int, seconds: float, *, first: int = 1, begin: float = 0.0) -> list[StepEnd]:
    return [(first + at, int((begin + (at + 1) * seconds) * SECOND)) for at in range(count)]


def found(ends: list[StepEnd], breaks: tuple[int, ...] = (), limit_set: float = 0.0) -> MeasuredSteps:
    return find_stretches(StepRecord(ends, list(breaks)), int(limit_set * SECOND), BY_COUNTER)


def test_steps_before_the_limit_and_while_it_settles_do_not_count() -> None:
    result = found(steps(30, 0.1), limit_set=1.05)
    (stretch,) = result.stretches
    assert (stretch.after_step, stretch.last_step) == (15, 30)
    assert result.count == 15
    assert result.intervals_seconds == pytest.approx([0.1] * 15)


def test_slow_steps_settle_for_three_of_them_and_fast_ones_for_a_time() -> None:
    assert found(steps(10, 1.0)).stretches[0].after_step == 4
    assert found(steps(200, 0.01)).stretches[0].after_step == 41


def test_an_evaluation_cuts_a_slice_and_what_follows_settles_again() -> None:
    ends = [*steps(20, 0.1), *steps(20, 0.1, first=21, begin=30.0)]
    first, second = found(ends, breaks=(20,)).stretches
    assert (first.after_step, first.last_step) == (5, 20)
    assert (second.after_step, second.last_step) == (25, 40)


def test_an_unreported_pause_is_detected_by_its_length() -> None:
    ends = [*steps(20, 0.1), *steps(20, 0.1, first=21, begin=3.0)]
    assert [stretch.last_step for stretch in found(ends).stretches] == [20, 40]


def test_a_missing_step_is_not_a_long_step() -> None:
    ends = steps(40, 0.1)
    del ends[19]
    assert [stretch.last_step for stretch in found(ends).stretches] == [19, 40]


def test_without_steps_nothing_is_found() -> None:
    assert found([]).count == 0
    assert found(steps(2, 0.1)).stretches == ()


@pytest.mark.parametrize(
    ("seconds", "count", "enough"),
    [(0.1, 11, False), (0.1, 12, True), (0.02, 40, False), (0.02, 55, True), (0.6, 8, False), (0.6, 10, True)],
)
def test_a_slice_has_enough_steps_and_enough_time(seconds: float, count: int, enough: bool) -> None:
    assert BY_COUNTER.is_enough([seconds] * count) is enough


def test_averaged_power_takes_longer_than_a_counter() -> None:
    assert not BY_POWER_SAMPLES.is_enough([0.1] * 20)
    assert BY_POWER_SAMPLES.is_enough([0.1] * 51)


def test_steps_that_vary_are_measured_for_longer_up_to_a_limit() -> None:
    noise = random.Random(1)
    intervals = [0.1 * noise.uniform(0.5, 1.5) for _ in range(1000)]
    needed = next(count for count in range(10, 1000) if BY_COUNTER.is_enough(intervals[:count]))
    assert 100 < needed <= 210
    assert SliceRules(longest_seconds=3.0).is_enough([interval * 3 for interval in intervals[:12]])


def test_steps_recorded_late_need_no_longer_slice() -> None:
    noise = random.Random(1)
    ends = [0.1 * at + noise.uniform(0, 0.02) for at in range(200)]
    late = [later - earlier for earlier, later in pairwise(ends)]
    apart = [0.1 + noise.uniform(-0.02, 0.02) for _ in range(200)]

    def needed(intervals: list[float]) -> int:
        return next(count for count in range(10, 200) if BY_COUNTER.is_enough(intervals[:count]))

    assert needed(late) < needed(apart) / 2
