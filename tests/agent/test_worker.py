"""One thread per GPU, which may hang."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from time import monotonic, sleep
from typing import Any

import pytest

from rheostat.agent.worker import Worker
from rheostat.errors import GpuUnavailable


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker("GPU-1", lambda: 60.0)
    yield worker
    worker.stop()


def test_tasks_are_done_one_after_another_and_answer(worker: Worker) -> None:
    done: list[int] = []

    def task(number: int) -> int:
        sleep(0.005)
        done.append(number)
        return number

    futures = [worker.submit(lambda number=number: task(number)) for number in range(10)]  # type: ignore[misc]
    assert [worker.wait(future, monotonic() + 5) for future in futures] == list(range(10)) == done


def test_what_a_task_raises_reaches_the_one_who_asked(worker: Worker) -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        worker.wait(worker.submit(fail), monotonic() + 5)


def test_a_hung_task_ends_the_waiting_and_what_waits_behind_it_is_dropped(worker: Worker) -> None:
    go, done = threading.Event(), []
    hung = worker.submit(go.wait)
    behind = worker.submit(lambda: done.append("too late"))
    futures: list[Future[Any]] = [hung, behind]
    for future in futures:
        with pytest.raises(GpuUnavailable, match="GPU-1 does not answer"):
            worker.wait(future, monotonic() + 0.05)
    assert worker.busy_seconds > 0.05
    go.set()
    assert worker.wait(worker.submit(lambda: "back"), monotonic() + 5) == "back"
    assert (done, worker.busy_seconds < 1) == ([], True)


def test_between_tasks_it_looks_as_often_as_it_is_told_and_survives_a_failure() -> None:
    looks = []

    def look() -> float:
        looks.append(monotonic())
        if len(looks) == 3:
            raise OSError("once")
        return 0.01

    worker = Worker("GPU-1", look)
    sleep(0.2)
    worker.stop()
    assert len(looks) == 3
    sleep(1.1)
    assert len(looks) == 3  # it was stopped in between
