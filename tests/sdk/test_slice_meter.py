"""How a slice of a survey is measured, on a clock of its own."""

from collections.abc import Iterable, Iterator
from itertools import chain, cycle, repeat

import pytest

from rheostat.sdk.slice_meter import Mark, Slice, SliceMeter, survey_rules

SECOND = 1_000_000_000
RULES = survey_rules("counter", 10.0)


class Trainer:
    """Steps that take so long, one after another.

    Args:
        seconds: Of each step; None: the trainer is made anew for the next one.
        queue_seconds: How far the GPU is behind what was sent to it.
    """

    def __init__(self, seconds: Iterable[float | None], queue_seconds: float = 0.0) -> None:
        self._seconds: Iterator[float | None] = iter(seconds)
        self._queue_seconds = queue_seconds
        self._steps = 0
        self.now = 0.0

    def next_mark(self, give_up_at: float) -> Mark | None:
        if self.now >= give_up_at:
            return None
        is_first = self._steps == 0
        while (seconds := next(self._seconds)) is None:
            is_first = True
        self.now += seconds
        self._steps += 1
        return Mark(self._steps, round(self.now * SECOND), is_first)

    def completed(self, mark: Mark) -> Mark:
        return Mark(mark.steps, mark.end_ns + round(self._queue_seconds * SECOND), mark.is_first)


def sliced(trainer: Trainer, give_up_at: float = 120.0) -> Slice | None:
    return SliceMeter(trainer, RULES).measure(give_up_at)


def seconds_per_step(trainer: Trainer) -> float:
    measured = sliced(trainer)
    assert measured is not None
    return measured.time_seconds / measured.steps


def test_steady_steps_are_measured_in_little_more_than_a_second() -> None:
    trainer = Trainer(repeat(0.05))
    measured = sliced(trainer)
    assert measured is not None
    assert measured.time_seconds == pytest.approx(0.05 * measured.steps)
    assert trainer.now < 2.0


def test_slow_first_steps_are_left_out() -> None:
    assert seconds_per_step(Trainer(chain([8.0, 0.5, 0.5], repeat(0.05)))) == pytest.approx(0.05)
    many = Trainer(chain(repeat(0.5, 12), repeat(0.05)))
    assert seconds_per_step(many) == pytest.approx(0.05)


def test_a_data_loader_that_dominates_is_a_part_of_the_steps() -> None:
    bursts = cycle([0.02, 0.02, 0.02, 0.94])
    assert seconds_per_step(Trainer(bursts)) == pytest.approx(0.25, rel=0.2)


def test_very_slow_steps_are_measured_by_a_few() -> None:
    trainer = Trainer(repeat(6.0))
    assert seconds_per_step(trainer) == pytest.approx(6.0)
    assert trainer.now <= 30


def test_noisy_steps_are_measured_for_as_long_as_the_server_lets_a_slice_be() -> None:
    measured = sliced(Trainer(cycle([0.1, 0.3, 0.05, 0.15, 0.2, 0.4])))
    assert measured is not None
    assert 10.0 <= measured.time_seconds <= 10.5


def test_iterators_of_a_few_steps_are_added_up_without_the_making_of_them() -> None:
    few = [None, 3.0, 0.1, 0.1, 0.1, 0.1]
    measured = sliced(Trainer(cycle(few)))
    assert measured is not None
    assert len(measured.windows_ns) > 1
    assert measured.time_seconds / measured.steps == pytest.approx(0.1)


def test_what_was_sent_to_the_gpu_is_waited_for_at_both_ends() -> None:
    trainer = Trainer(repeat(0.05), queue_seconds=0.2)
    measured = sliced(trainer)
    assert measured is not None
    (window,) = measured.windows_ns
    assert window[1] == round((trainer.now + 0.2) * SECOND)
    assert window[1] - window[0] == pytest.approx(0.05 * measured.steps * SECOND)


def test_a_slice_that_has_no_time_left_is_dropped_or_cut_short() -> None:
    assert sliced(Trainer(repeat(1.0)), give_up_at=1.5) is None
    cut = sliced(Trainer(cycle([0.1, 0.3])), give_up_at=5.0)
    assert cut is not None
    assert cut.time_seconds < 5.0
