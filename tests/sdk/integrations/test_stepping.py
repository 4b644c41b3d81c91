from collections.abc import Callable
from contextlib import closing

import pytest

from rheostat.sdk.integrations.stepping import steps_of


class Training:
    """A training of some steps, which may fail after the last."""

    def __init__(self, steps: int, error: Exception | None = None) -> None:
        self._steps = steps
        self._error = error
        self.made = 0
        self.is_unwound = False

    def __call__(self, on_step: Callable[[], None]) -> None:
        try:
            for _ in range(self._steps):
                self.made += 1
                on_step()
            if self._error is not None:
                raise self._error
        finally:
            self.is_unwound = True


def test_a_step_is_made_when_it_is_asked_for() -> None:
    training = Training(5)
    steps = steps_of(training)
    assert training.made == 0
    next(steps)
    assert training.made == 1
    assert sum(1 for _ in steps) == 4


def test_what_the_training_raises_is_raised_where_the_step_was_asked_for() -> None:
    steps = steps_of(Training(1, MemoryError()))
    next(steps)
    with pytest.raises(MemoryError):
        next(steps)


def test_closing_the_iterator_unwinds_the_training() -> None:
    training = Training(1000)
    with closing(steps_of(training)) as steps:
        next(steps)
    assert training.is_unwound
    assert training.made == 1


def test_an_iterator_that_was_never_asked_begins_no_training() -> None:
    training = Training(1)
    steps_of(training).close()
    assert training.made == 0
