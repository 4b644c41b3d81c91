"""One thread per GPU. All that is done to a GPU is done on its thread, one thing after another.

So nothing needs a lock, and a call into the driver that hangs stops that GPU alone. Whoever asks waits until a
deadline; what was asked too late to be done is not done any more, and what hangs is finished when it comes back.
"""

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import TypeVar

from rheostat.errors import GpuUnavailable

T = TypeVar("T")

logger = logging.getLogger(__name__)

_Task = Callable[[], None]


class Worker:
    """The thread of one GPU.

    Args:
        name: Of the GPU, for messages.
        between: Is called between tasks and when it has asked to be; returns in how many seconds to call it again.
    """

    def __init__(self, name: str, between: Callable[[], float]) -> None:
        self._name = name
        self._between = between
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._busy_since: float | None = None
        self._pause_seconds = 0.0
        # A hung call must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"gpu {name}", daemon=True)
        self._thread.start()

    @property
    def busy_seconds(self) -> float:
        """For how long the thread has been at what it does now."""
        since = self._busy_since
        return 0.0 if since is None else monotonic() - since

    def submit(self, task: Callable[[], T]) -> "Future[T]":
        """Have a task done after those before it, however long that takes."""
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
        """Give the result of a task.

        Args:
            future: The task.
            deadline: Until when to wait, on the monotonic clock.
            drop: Whether the task is not to be done any more when it has not begun by then.

        Raises:
            GpuUnavailable: When there is none by then.
        """
        try:
            return future.result(max(0.0, deadline - monotonic()))
        except TimeoutError:
            if future.done() and not future.cancelled():
                return future.result()
            if drop:
                future.cancel()
            raise GpuUnavailable(
                f"GPU {self._name} does not answer.", hint="It may hang in the driver; see `rheostat agent status`."
            ) from None

    def stop(self) -> None:
        """End the thread after the tasks that are waiting; does not wait for it."""
        self._tasks.put(None)

    def _run(self) -> None:
        due = monotonic()
        while True:
            try:
                task = self._tasks.get(timeout=max(0.0, due - monotonic()))
            except queue.Empty:
                task = self._look
            if task is None:
                return
            self._busy_since = monotonic()
            task()
            self._busy_since = None
            # A task may have changed what there is to look after.
            due = monotonic() + self._pause_seconds
            self._pause_seconds = 0.0

    def _look(self) -> None:
        try:
            self._pause_seconds = self._between()
        except Exception:
            logger.exception("GPU %s: looking after it failed", self._name)
            self._pause_seconds = 1.0
