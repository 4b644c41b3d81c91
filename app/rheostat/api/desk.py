"""The way from the event loop to the service's desk: one thread that takes along whatever has come in meanwhile.

The more requests wait, the more share one commit; a single one goes at once.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from rheostat.errors import DatabaseUnavailable
from rheostat.service import Service
from rheostat.service.desk import Decision, Question, Settled, SignOfLife

MOST_AT_ONCE = 16
"""Decisions in one commit: an answer waits for those before it, so there must not be too many."""

MOST_UNDER_LOCK = 16
"""Decisions that wait for locks at a time: fewer than there are threads, so that probes and other routes have some."""

LONGEST_CLOSE_SECONDS = 5.0

A = TypeVar("A")

_Waiting = tuple[Question, "asyncio.Future[Settled | None]"]


@asynccontextmanager
async def answered_within(seconds: float) -> AsyncIterator[None]:
    """Bound how long the database may keep a request waiting.

    Raises:
        DatabaseUnavailable: It took longer.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise DatabaseUnavailable("The database has not answered in time.", hint="Try again.") from error


class AsyncDesk:
    """Asks the service's desk from coroutines.

    Args:
        service: Whose desk.
        patience_seconds: How long an answer may take.
    """

    def __init__(self, service: Service, patience_seconds: float) -> None:
        self._desk = service.desk
        self._patience_seconds = patience_seconds
        self._locks_waited_for = CapacityLimiter(MOST_UNDER_LOCK)
        self._waiting: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="desk", daemon=True)
        self._thread.start()

    async def ask(self, question: Decision[A] | SignOfLife[A]) -> A:
        """Return the answer to a question once it is durable.

        Raises:
            DatabaseUnavailable: The database stands still. What was asked may yet be done.
        """
        future: asyncio.Future[Settled | None] = asyncio.get_running_loop().create_future()
        self._waiting.put((question, future))
        async with answered_within(self._patience_seconds):
            settled = await future
            if settled is None:
                return await to_thread.run_sync(
                    question.under_lock, abandon_on_cancel=True, limiter=self._locks_waited_for
                )
        settled.tell()
        answer: A = settled.answer
        return answer

    def close(self) -> None:
        """Stop once all that was asked is answered; what a database that stands still holds up is not waited for."""
        self._waiting.put(None)
        self._thread.join(LONGEST_CLOSE_SECONDS)

    def _work(self) -> None:
        while True:
            batch = self._take()
            asked = [waiting for waiting in batch if waiting is not None]
            if asked:
                self._settle(asked)
            if len(asked) < len(batch):
                return

    def _take(self) -> list[_Waiting | None]:
        batch = [self._waiting.get()]
        while len(batch) < MOST_AT_ONCE and batch[-1] is not None and not self._waiting.empty():
            batch.append(self._waiting.get())
        return batch

    def _settle(self, batch: list[_Waiting]) -> None:
        answers: list[Settled | None]
        try:
            answers = self._desk.settle([question for question, _ in batch])
        except Exception:  # then each fails, or succeeds, by itself
            answers = [None] * len(batch)
        loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Settled | None], Settled | None]]]
        loops = defaultdict(list)
        for (_, future), answer in zip(batch, answers, strict=True):
            loops[future.get_loop()].append((future, answer))
        for loop, settled in loops.items():
            with suppress(RuntimeError):  # a loop that has closed: nobody waits there any more
                loop.call_soon_threadsafe(_hand_out, settled)


def _hand_out(settled: list[tuple["asyncio.Future[Settled | None]", Settled | None]]) -> None:
    for future, answer in settled:
        if not future.done():  # who asked may have gone
            future.set_result(answer)
