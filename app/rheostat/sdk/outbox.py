"""Delivers the reports of a run: in the background, in order, at least once; the server removes duplicates."""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from pathlib import Path
from random import SystemRandom
from threading import Condition, Event, Lock, Thread
from time import monotonic
from typing import Any, Generic

import httpx

from rheostat.errors import RheostatError, ServerRefused, ServerUnreachable
from rheostat.schemas.fields import Body
from rheostat.sdk.exchange import AnswerT, HttpRequest
from rheostat.sdk.server import ServerClient
from rheostat.sdk.spool import RequestQueue, claimed, spool_directory, spool_files
from rheostat.sdk.threads import in_background

_log = logging.getLogger("rheostat")

# A later try gets the same answer; any other refusal can be remedied meanwhile, as an expired token.
_FINAL_STATUSES = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 15.0
_SHORTEST_TRY_SECONDS = 1.0
# For a write to disk that is under way when the run ends.
_DISK_SECONDS = 1.0

_random = SystemRandom()


class WarnOnce:
    """Logs what goes wrong: the first time as a warning, later at level INFO."""

    def __init__(self) -> None:
        self._warned = False

    def __call__(self, what: str, error: Exception) -> None:
        """Log it."""
        _log.log(logging.INFO if self._warned else logging.WARNING, "%s: %s", what, error)
        self._warned = True


@dataclass(slots=True, eq=False)
class _Item(Generic[AnswerT]):
    """A request on its way.

    Attributes:
        make: Makes it when its turn comes; None: there is nothing to send.
        done: Is set once it is sent or refused.
        answer: The server's.
    """

    make: Callable[[], HttpRequest[AnswerT] | None]
    done: Event = field(default_factory=Event)
    answer: AnswerT | None = None


class Outbox:
    """Sends the requests of one run from a thread of its own; while the server is away they wait on disk.

    Args:
        client: Client of the server.
        warn: Is called when a request cannot be sent.
        answer_seconds: How long :meth:`answer` waits for an answer.
        take: Gets each answer, in the sending thread.
    """

    def __init__(
        self, client: ServerClient, warn: WarnOnce, answer_seconds: float, take: Callable[[Body], None]
    ) -> None:
        self._client = client
        self._warn = warn
        self._answer_seconds = answer_seconds
        self._take = take
        self._changed = Condition()
        self._incoming: deque[_Item[Any]] = deque()
        self._unsent = self._failures = 0
        self._is_behind = self._is_over = False
        self._thread: Thread | None = None
        # What waits on disk. The sending thread holds the lock while it writes there, and no caller waits for that.
        self._writing = Lock()
        self._current: tuple[_Item[Any], HttpRequest[Body]] | None = None
        self._queue = RequestQueue(client.base_url, spool_directory())
        self._queued: deque[_Item[Any]] = deque()
        self._pause_seconds = self._next_try_at = 0.0

    @property
    def waits(self) -> bool:
        """Whether anything is not sent yet."""
        return self._unsent > 0

    def put(self, make: Callable[[], HttpRequest[AnswerT] | None]) -> _Item[AnswerT]:
        """Send a request behind all others, and return at once; it is made when its turn comes."""
        item = _Item(make)
        with self._changed:
            self._incoming.append(item)
            self._unsent += 1
            if self._thread is None:  # if none can be started, the next request tries again, and the end writes to disk
                self._thread = in_background(self._send_all, "outbox")
            self._changed.notify_all()
        return item

    def answer(self, make: Callable[[], HttpRequest[AnswerT] | None]) -> AnswerT | None:
        """Send a request and return its answer; None when there is none in time.

        Then no later call waits until the server has answered all, and in time again.
        """
        item = self.put(make)
        if not self._is_behind and not item.done.wait(self._answer_seconds):
            with self._changed:
                self._is_behind = not item.done.is_set()
        return item.answer

    def expect_no_answer(self) -> None:
        """Wait for nothing until the server has answered: it is away."""
        self._is_behind = True

    def retry_now(self) -> None:
        """Send what waits without a pause: the server has answered something else."""
        with self._changed:
            self._next_try_at = 0.0
            self._changed.notify_all()

    def drain(self, seconds: float) -> None:
        """Wait until all is sent; at most so long, and no longer than one try of a server that was away before."""
        with self._changed:
            was_behind, failures = self._is_behind, self._failures
            self._next_try_at = 0.0
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self.waits or (was_behind and self._failures > failures), seconds)

    def close(self, seconds: float) -> None:
        """Wait as :meth:`drain` does, and leave what is still unsent to a later run."""
        self.drain(seconds)
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        if not self._writing.acquire(timeout=_DISK_SECONDS):
            _log.warning("The disk does not answer: the last unsent reports may be lost.")
            return
        try:
            if self._current is not None:
                self._queue.append(self._current[1])
            for item in self._incoming:
                if (request := self._made(item)) is not None:
                    self._queue.append(request, durably=False)
            if len(self._queue):
                _log.info("%d unsent reports wait for the server in %s.", len(self._queue), spool_directory())
            self._queue.close()
        finally:
            self._writing.release()

    def deliver_spool(self) -> None:
        """Send what earlier runs left for the same server, in the background."""
        in_background(partial(deliver_spool, self._client, spool_directory()), "spool")

    def _send_all(self) -> None:
        while not self._is_over:
            if (item := self._next_incoming()) is not None:
                self._handle(item)
            # Not by the queue alone: at the end of the run another thread puts the rest into it.
            elif self._queued and (request := self._queue.first) is not None:
                self._try(self._queued[0], request)

    def _next_incoming(self) -> _Item[Any] | None:
        """Wait for work; return what came in, or None when a queued request is due or the run is over."""
        with self._changed:
            while not self._is_over and not self._incoming:
                pause = self._next_try_at - monotonic() if self._queued else None
                if pause is not None and pause <= 0:
                    break
                self._changed.wait(pause)
            return self._incoming[0] if self._incoming and not self._is_over else None

    def _made(self, item: _Item[Any]) -> HttpRequest[Body] | None:
        try:
            return item.make()
        except Exception as error:  # no failure here may hold up the other requests
            self._tell("A report cannot be sent", error)
            return None

    def _tell(self, what: str, error: Exception) -> None:
        if not self._is_over:  # then its client may be closed
            self._warn(what, error)

    def _handle(self, item: _Item[Any]) -> None:
        request = self._made(item)
        with self._changed:
            if self._is_over:
                return  # it is still among the incoming
            self._incoming.popleft()
            self._current = None if request is None else (item, request)
        if request is None:
            self._finish(item, None)
        elif self._queued:
            self._append(item, request)
        else:
            self._try(item, request)

    def _append(self, item: _Item[Any], request: HttpRequest[Body]) -> None:
        with self._writing:
            if self._is_over:
                return
            dropped = self._queue.append(request)
            self._queued.append(item)
            self._current = None
        for _ in range(dropped):
            self._finish(self._queued.popleft(), None)

    def _try(self, item: _Item[Any], request: HttpRequest[Body]) -> None:
        began = monotonic()
        # What nobody waits for any more is written to disk first.
        patience = None if self._is_behind else max(self._answer_seconds, _SHORTEST_TRY_SECONDS)
        try:
            answer = _send(self._client, request, self._tell, patience)
        except RheostatError as error:
            self._tell("Training goes on without the server", error)
            if self._current is not None:
                self._append(item, request)
            self._fail()
            return
        in_time = monotonic() - began <= self._answer_seconds
        with self._writing:
            if self._is_over:
                return
            self._pause_seconds = 0.0
            if self._current is None:
                self._queue.drop_first()
                self._queued.popleft()
            self._current = None
        if answer is not None:
            self._take(answer)
        self._finish(item, answer, in_time=in_time)

    def _fail(self) -> None:
        with self._changed:
            self._pause_seconds = min(max(2 * self._pause_seconds, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
            self._next_try_at = monotonic() + self._pause_seconds * _random.uniform(0.5, 1.0)
            self._failures += 1
            self._changed.notify_all()

    def _finish(self, item: _Item[Any], answer: Body | None, *, in_time: bool = False) -> None:
        with self._changed:
            item.answer = answer
            item.done.set()
            self._unsent -= 1
            if in_time and not self._unsent:
                self._is_behind = False
            self._changed.notify_all()


def deliver_spool(client: ServerClient, directory: Path, url: str | None = None, *, says_why: bool = False) -> int:
    """Send what ended runs left for a server; return how many requests still wait for it.

    Args:
        client: Client of the server.
        directory: The spool.
        url: The address that they wait for, if it is not the client's: the server has moved. What it refuses there goes
            on to wait, since it may be another server after all.
        says_why: Whether to log why reports still wait; a run that sends those of earlier runs says it of its own.
    """
    keeps_refused = url not in (None, client.base_url)
    still_waiting = 0
    for left in spool_files(directory):
        if left.url != (url or client.base_url):
            continue
        with claimed(left) as queue:
            if queue is not None:
                _deliver(client, queue, keeps_refused=keeps_refused, says_why=says_why or keeps_refused)
                still_waiting += len(queue)
    return still_waiting


def _deliver(client: ServerClient, queue: RequestQueue, *, keeps_refused: bool, says_why: bool) -> None:
    def warn(what: str, error: Exception) -> None:
        _log.warning("%s: %s", what, error)

    while (request := queue.first) is not None:
        try:
            if keeps_refused:
                client.send(request, retry=False)
            else:
                _send(client, request, warn)
        except RheostatError as error:
            if says_why:
                warn("A report still waits", error)
            return
        queue.drop_first()


def _send(
    client: ServerClient,
    request: HttpRequest[AnswerT],
    warn: Callable[[str, Exception], None],
    within_seconds: float | None = None,
) -> AnswerT | None:
    """Send a request once; return its answer, or None when it will be refused whenever it is sent.

    Raises:
        RheostatError: A later try may succeed.
    """
    try:
        return client.send(request, retry=False, within_seconds=within_seconds)
    except RheostatError as error:
        if not (isinstance(error, ServerRefused) and error.status in _FINAL_STATUSES and not error.server_retryable):
            raise
        warn("The server refuses a report", error)
    except RuntimeError as error:  # the client was closed
        raise ServerUnreachable(str(error)) from error
    except (TypeError, ValueError, httpx.InvalidURL) as error:  # it was read from disk
        warn("A report cannot be sent", error)
    return None
