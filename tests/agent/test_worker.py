"""One thread per GPU, which may hang."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from itertools import pairwise
from time import monotonic
from typing import Any

import pytest

from rheostat.agent.worker import Worker
from rheostat.errors import GpuUnavailable
from tests.waiting import PATIENCE_SECONDS, eventually


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker("GPU-1", lambda: 60.0)
    yield worker
    worker.stop()


def test_tasks_run_one_after_another_and_return_their_results(worker: Worker) -> None:
    running, done = threading.Lock(), []

    def task(number: int) -> int:
        assert running.acquire(blocking=False)
        done.append(number)
        running.release()
        return number

    futures = [worker.submit(lambda number=number: task(number)) for number in range(10)]  # type: ignore[misc]
    assert [worker.wait(future, monotonic() + PATIENCE_SECONDS) for future in futures] == list(range(10)) == done


def test_what_a_task_raises_reaches_its_caller(worker: Worker) -> None:
    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        worker.wait(worker.submit(fail), monotonic() + PATIENCE_SECONDS)


def test_the_wait_for_a_hung_task_ends_and_tasks_queued_behind_it_are_dropped(worker: Worker) -> None:
    started, go, done = threading.Event(), threading.Event(), []

    def hang() -> None:
        started.set()
        go.wait()

    hung = worker.submit(hang)
    assert started.wait(PATIENCE_SECONDS)
    behind = worker.submit(lambda: done.append("too late"))
    futures: list[Future[Any]] = [hung, behind]
    for future in futures:
        with pytest.raises(GpuUnavailable, match="GPU-1 does not respond"):
            worker.wait(future, monotonic())
    busy_seconds = worker.busy_seconds
    assert worker.busy_seconds > busy_seconds > 0
    go.set()
    assert worker.wait(worker.submit(lambda: "back"), monotonic() + PATIENCE_SECONDS) == "back"
    eventually(lambda: worker.busy_seconds == 0)
    assert done == []


def test_a_task_that_must_be_done_is_done_late(worker: Worker) -> None:
    go, done = threading.Event(), threading.Event()
    worker.submit(go.wait)
    late = worker.submit(done.set)
    with pytest.raises(GpuUnavailable):
        worker.wait(late, monotonic(), drop=False)
    go.set()
    assert done.wait(PATIENCE_SECONDS)


def test_the_check_is_called_as_often_as_it_asks_and_after_a_failure() -> None:
    calls, enough = [], threading.Event()

    def check() -> float:
        calls.append(monotonic())
        if len(calls) == 3:
            raise OSError("once")
        if len(calls) == 5:
            enough.set()
        return 0.01

    worker = Worker("GPU-1", check, retry_seconds=0.05)
    assert enough.wait(PATIENCE_SECONDS)
    worker.stop()
    assert all(later - earlier >= 0.01 for earlier, later in pairwise(calls))
    assert calls[3] - calls[2] >= 0.05


def test_a_stopped_worker_ends_its_thread_after_the_queued_tasks() -> None:
    worker = Worker("GPU-stopped", lambda: 60.0)
    last = worker.submit(lambda: "done")
    worker.stop()
    assert worker.wait(last, monotonic() + PATIENCE_SECONDS) == "done"
    eventually(lambda: "gpu GPU-stopped" not in {thread.name for thread in threading.enumerate()})
