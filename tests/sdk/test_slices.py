import random
from itertools import count, islice, repeat
from time import thread_time

import pytest

from rheostat.sdk.rhythm import Rhythm
from rheostat.sdk.slices import BY_COUNTER, BY_POWER_READINGS, SliceRules, StepSlice
from rheostat.sdk.step_clock import StepEnd
from tests.sdk.steps import SECOND, Sliced, ends

ENDLESS = SliceRules(fewest_steps=10**9)


def stretches(seconds: list[float], breaks: tuple[int, ...] = (), limit_set: float = 0.0) -> list[tuple[int, int]]:
    return Sliced(ends(seconds, breaks), ENDLESS, limit_set).stretches


def test_steps_before_the_limit_and_while_it_settles_do_not_count() -> None:
    assert stretches([0.1] * 30, limit_set=1.05) == [(15, 30)]


def test_slow_steps_settle_for_three_of_them_and_fast_ones_for_a_time() -> None:
    assert stretches([1.0] * 10) == [(4, 10)]
    assert stretches([0.01] * 200) == [(41, 196)]  # they are counted in blocks


def test_a_break_cuts_a_slice_and_what_follows_settles_for_a_quarter_of_the_steps_between_breaks() -> None:
    assert stretches([0.1] * 20 + [30.0] + [0.1] * 20, breaks=(21,)) == [(5, 20), (25, 41)]
    assert stretches([0.5] * 8 + [30.0] + [0.5] * 7 + [30.0] + [0.5] * 7, breaks=(9, 17)) == [
        (5, 8),
        (10, 16),
        (18, 24),
    ]


def test_an_unreported_pause_is_detected_by_its_length() -> None:
    assert stretches([0.1] * 20 + [3.0] + [0.1] * 19) == [(5, 20), (25, 40)]


def test_a_missing_step_is_not_a_long_step() -> None:
    steps = [step for step in ends([0.1] * 40) if step.number != 20]
    assert Sliced(steps, ENDLESS).stretches == [(5, 19), (25, 40)]


def test_without_steps_nothing_is_found() -> None:
    assert stretches([]) == stretches([0.1, 0.1]) == []
    assert not Sliced([], BY_COUNTER).slice.is_enough()


@pytest.mark.parametrize(("seconds", "steps"), [(0.1, 12), (0.02, 50), (0.6, 10), (2.0, 10)])
def test_a_slice_has_enough_steps_and_enough_time(seconds: float, steps: int) -> None:
    sliced = Sliced(ends(repeat(seconds, 1000)), BY_COUNTER)
    assert sliced.slice.count == pytest.approx(steps, abs=1)
    assert sliced.mean_seconds == pytest.approx(seconds)


def test_power_that_the_driver_averages_takes_longer_than_a_counter() -> None:
    assert Sliced(ends(repeat(0.1, 1000)), BY_POWER_READINGS).slice.count in (50, 51)


def test_noise_is_not_taken_for_steps_recorded_late() -> None:
    noise = random.Random(1)
    counts = [Sliced(ends(0.1 * noise.gauss(1, 0.2) for _ in count()), BY_COUNTER).slice.count for _ in range(200)]
    assert sorted(counts)[10] > 150  # so many are rarely enough by chance


def test_steps_that_vary_are_measured_for_longer_and_for_a_bounded_time() -> None:
    noise = random.Random(1)
    fast = Sliced(ends(0.01 * noise.gauss(1, 0.2) for _ in count()), BY_COUNTER)
    assert fast.last * 0.01 == pytest.approx(4.5, abs=2)
    slow = Sliced(ends(0.2 * noise.gauss(1, 0.2) for _ in count()), BY_COUNTER)
    assert slow.last * 0.2 < 25
    assert fast.mean_seconds == pytest.approx(0.01, rel=0.03)
    assert slow.mean_seconds == pytest.approx(0.2, rel=0.06)


def test_fast_steps_that_are_often_slower_by_chance_are_measured_in_time() -> None:
    noise = random.Random(1)
    sliced = Sliced(ends(0.0001 * noise.expovariate(1) for _ in count()), BY_COUNTER)
    assert sliced.last * 0.0001 < 4
    assert sliced.mean_seconds == pytest.approx(0.0001, rel=0.02)


def test_steps_recorded_late_need_no_longer_slice() -> None:
    noise = random.Random(1)
    moments = [0.1 * at + noise.uniform(0, 0.02) for at in range(1, 500)]
    late = Sliced((StepEnd(number, round(at * SECOND)) for number, at in enumerate(moments, 1)), BY_COUNTER)
    apart = Sliced(ends(0.1 + noise.uniform(-0.02, 0.02) for _ in range(500)), BY_COUNTER)
    assert late.slice.count < apart.slice.count / 2


def test_an_evaluation_once_in_hundreds_of_steps_is_left_out() -> None:
    run = ([0.02] * 299 + [1.5]) * 20
    rhythm = Rhythm()
    assert Sliced(ends(run), ENDLESS, rhythm=rhythm).mean_seconds == pytest.approx(0.02)
    assert (rhythm.period, rhythm.changes) == (1, 0)


def test_stalls_that_come_often_are_a_part_of_training_and_are_forgotten_when_they_end() -> None:
    noise, rhythm = random.Random(1), Rhythm()
    run = [one for _ in range(60) for one in [*[0.02] * noise.randint(5, 15), 0.4]]
    steps = ends(run + [0.02] * 300 + [0.5] + [0.02] * 300)
    stalling = Sliced(islice(steps, len(run)), ENDLESS, rhythm=rhythm)
    assert stalling.mean_seconds == pytest.approx(sum(run) / len(run), rel=0.1)
    assert Sliced(steps, ENDLESS, sum(run) + 0.001, rhythm).mean_seconds == pytest.approx(0.02, rel=0.01)


def test_epochs_of_tenths_of_a_second_are_measured_as_a_whole() -> None:
    run = [0.07, *[0.02] * 9] * 100
    rhythm = Rhythm()
    sliced = Sliced(ends(run, range(11, 1000, 10)), BY_COUNTER, rhythm=rhythm)
    assert len(sliced.stretches) == 1
    assert sliced.mean_seconds == pytest.approx(0.025, rel=0.01)
    assert sum(run[: sliced.last]) < 4


def test_steps_that_are_only_sent_to_the_gpu_and_waited_for_in_a_break_are_measured_with_it() -> None:
    run = [2.1, *[0.00005] * 699] * 20
    sliced = Sliced(ends(run, range(701, 14_000, 700)), BY_COUNTER)
    assert sliced.mean_seconds == pytest.approx(0.003, rel=0.02)
    assert sum(run[: sliced.last]) < 20


def test_epochs_of_one_step_are_measured_with_what_is_between_them() -> None:
    assert Sliced(ends(repeat(1.0, 1000), range(1, 1000)), BY_COUNTER).mean_seconds == pytest.approx(1.0)


def test_what_cannot_be_measured_is_given_up_after_a_time_and_some_steps() -> None:
    never = SliceRules(fewest_steps=10**9)
    assert Sliced(ends(repeat(0.1, 10_000)), never).last == 1200
    assert Sliced(ends(repeat(10.0, 10_000)), never).last == 200


def test_a_step_is_looked_at_once_however_long_the_slice_is() -> None:
    steps = list(ends(repeat(0.001, 100_000)))
    slice_ = StepSlice(ENDLESS, 0, Rhythm())

    def seconds(part: list[StepEnd]) -> float:
        begin = thread_time()
        for step in part:
            slice_.add(step)
        slice_.is_enough()
        return thread_time() - begin

    early = min(seconds(steps[at : at + 200]) for at in range(0, 5000, 200))
    for step in steps[5000:90_000]:
        slice_.add(step)
    late = min(seconds(steps[at : at + 200]) for at in range(90_000, 95_000, 200))
    assert late < 3 * early
    assert len(slice_.stretches) == 1
