"""Long work in short transactions."""

from collections.abc import Callable
from threading import Event

import pytest
from sqlalchemy import Connection

from rheostat.errors import DatabaseBusy
from rheostat.storage.engine import Database
from rheostat.storage.steps import (
    FEWEST_ROWS,
    LONGEST_PAUSE_SECONDS,
    MOST_ROWS,
    PAUSE_PER_STEP,
    STEP_SECONDS,
    Progress,
    Steps,
)


class Timer:
    """A clock that work turns, and an event that notes for how long it is waited for."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.stop = _Noting()

    def __call__(self) -> float:
        return self.seconds

    def working(self, seconds_per_row: float, steps: Steps) -> Callable[[Connection], int]:
        def work(_: Connection) -> int:
            self.seconds += seconds_per_row * steps.rows
            return steps.rows

        return work


class _Noting(Event):
    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waited.append(timeout)
        return self.is_set()


@pytest.mark.parametrize("seconds_per_row", [1e-4, 4e-5, 1e-5])
def test_steps_become_as_long_as_they_may_be(migrated: Database, seconds_per_row: float) -> None:
    timer = Timer()
    steps = Steps(migrated, timer.stop, now=timer)
    took = []
    for _ in range(20):
        began = timer.seconds
        steps.take(timer.working(seconds_per_row, steps))
        took.append(timer.seconds - began)
    assert max(took[10:]) <= 1.01 * STEP_SECONDS
    assert steps.rows == MOST_ROWS or max(took[10:]) >= STEP_SECONDS / 4
    assert timer.stop.waited == pytest.approx([PAUSE_PER_STEP * one for one in took])
    assert max(timer.stop.waited) < LONGEST_PAUSE_SECONDS


def test_the_slowest_database_gets_on_as_well(migrated: Database) -> None:
    timer = Timer()
    steps = Steps(migrated, timer.stop, now=timer)
    for _ in range(10):
        steps.take(timer.working(10.0, steps))
    assert steps.done == 10 * FEWEST_ROWS
    assert timer.stop.waited == [LONGEST_PAUSE_SECONDS] * 10


def test_the_time_that_was_waited_for_others_does_not_count(database: Database) -> None:
    timer = Timer()
    steps = Steps(database, timer.stop, now=timer)
    write = database.write

    def waiting(work: Callable[[Connection], int]) -> int:
        timer.seconds += 5.0
        return write(work)

    database.write = waiting  # type: ignore[method-assign, assignment]
    steps.take(timer.working(0.0, steps))
    assert timer.stop.waited == [0.0]
    assert steps.rows == 2 * FEWEST_ROWS


def test_a_step_that_fails_counts_for_nothing(migrated: Database) -> None:
    steps = Steps(migrated)

    def fail(_: Connection) -> int:
        raise DatabaseBusy("Timed out.")

    with pytest.raises(DatabaseBusy):
        steps.take(fail)
    assert steps.done == 0


def test_who_watches_sees_what_is_done(migrated: Database) -> None:
    seen: list[Progress] = []
    steps = Steps(migrated, watch=seen.append)
    steps.take(lambda _: 7)
    steps.show(share=0.5)
    assert seen == [Progress(7, 0.5)]
