"""One thread per GPU, which runs all operations on that GPU one after another.

So they need no lock, and a driver call that hangs blocks that GPU only. A caller waits until a deadline; a task that
has not started by then is dropped, and one that hangs is finished when the call returns.
"""

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from rheostat.errors import GpuUnavailable

T = TypeVar("T")

logger = logging.getLogger(__name__)

_Task = Callable[[], None]


@dataclass(slots=True)
class Timing:
    """How long the agent waits for GPUs, in seconds.

    Attributes:
        deadline_seconds: How long a caller waits for an operation on a GPU.
        check_seconds: How often to read a GPU's limit.
        missing_seconds: How long to wait before looking again for a GPU that is missing; doubles each time.
    """

    deadline_seconds: float = 5.0
    check_seconds: float = 1.0
    missing_seconds: float = 2.0


class Worker:
    """Runs the operations of one GPU on a thread of its own.

    Args:
        name: The GPU's name, for messages.
        check: Called after a task and whenever due; returns the number of seconds until the next call.
        retry_seconds: When to call `check` again after it has raised.

    Attributes:
        thread: The thread, which `stop` ends.
    """

    def __init__(self, name: str, check: Callable[[], float], retry_seconds: float = 1.0) -> None:
        self._name = name
        self._check = check
        self._retry_seconds = retry_seconds
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._busy_since: float | None = None
        self._pause_seconds = 0.0
        # A hung call must not keep the process from ending.
        self.thread = threading.Thread(target=self._run, name=f"gpu {name}", daemon=True)
        self.thread.start()

    @property
    def busy_seconds(self) -> float:
        """How long the current task has been running."""
        since = self._busy_since
        return 0.0 if since is None else monotonic() - since

    def submit(self, task: Callable[[], T]) -> "Future[T]":
        """Queue a task."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(task())
            except BaseException as error:
                future.set_exception(error)

        self._tasks.put(run)
        return future

    def wait(self, future: "Future[T]", deadline: float, *, drop: bool = True) -> T:
        """Return the result of a task.

        Args:
            future: The task.
            deadline: How long to wait, as a time on the monotonic clock.
            drop: Whether to cancel the task when it has not started by then.

        Raises:
            GpuUnavailable: When there is no result by then.
        """
        try:
            return future.result(max(0.0, deadline - monotonic()))
        except TimeoutError:
            if future.done() and not future.cancelled():
                return future.result()
            if drop:
                future.cancel()
            raise GpuUnavailable(
                f"GPU {self._name} does not respond.", hint="The driver may hang; see `rheostat doctor`."
            ) from None

    def stop(self) -> None:
        """End the thread after the queued tasks; does not wait for it."""
        self._tasks.put(None)

    def _run(self) -> None:
        due = monotonic()
        while True:
            try:
                task = self._tasks.get(timeout=max(0.0, due - monotonic()))
            except queue.Empty:
                task = self._run_check
            if task is None:
                return
            self._busy_since = monotonic()
            task()
            self._busy_since = None
            # A task may have changed what there is to check.
            due = monotonic() + self._pause_seconds
            self._pause_seconds = 0.0

    def _run_check(self) -> None:
        try:
            self._pause_seconds = self._check()
        except Exception:
            logger.exception("GPU %s: the check failed", self._name)
            self._pause_seconds = self._retry_seconds
