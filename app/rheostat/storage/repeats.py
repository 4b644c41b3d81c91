"""Requests that are sent again: what changed nothing before is answered by a read, and the writer is left to others.

Whether a request repeats an earlier one is only known once it is decided. So those are remembered whose decision
changed nothing, or refused; the same again is first decided in a read transaction. Where it would change something
after all, as a trial that its trainer goes on with, it is decided once more by the writer, as any change.
"""

from collections import OrderedDict
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Lock
from typing import Any, TypeVar

from rheostat.domain.history import Decide, History
from rheostat.domain.job import NO_CHANGES, Decision, Job
from rheostat.errors import RheostatError, Unavailable
from rheostat.storage.job_store import JobStore
from rheostat.storage.stored_job import Key

MOST_REMEMBERED = 4096

READERS = 2
"""Threads for reading: no more than that of a flood of repeats competes with the writer."""

A = TypeVar("A")


class Repeats:
    """Changes jobs, and answers by a read what changes nothing again.

    Args:
        jobs: The jobs.
    """

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self._readers = ThreadPoolExecutor(READERS, "repeats")
        self._unchanging: OrderedDict[Hashable, None] = OrderedDict()
        self._lock = Lock()

    def change(self, key: Key, decide: Decide[A], *, repeat: Hashable, **options: Any) -> Future[Decision[A]]:
        """Decide about a job and write what that changes, as :meth:`rheostat.storage.job_store.JobStore.change` does.

        Args:
            key: The job, or a trial of it.
            decide: A pure function of the job and its history.
            repeat: What a request and its repetitions have in common, beside the job.
            options: Those of a change.
        """
        token = key, repeat
        with self._lock:
            is_known = token in self._unchanging
        if is_known:
            future: Future[Decision[A]] = Future()
            with suppress(RuntimeError):  # the server is stopping, as the writer will say
                self._readers.submit(self._read, token, decide, options, future)
                return future
        future = self._jobs.change(key, decide, **options)
        future.add_done_callback(lambda done: self._note(token, done))
        return future

    def close(self) -> None:
        """Read nothing more; what waits is left to its callers' time limits."""
        self._readers.shutdown(wait=False, cancel_futures=True)

    def _read(
        self, token: tuple[Key, Hashable], decide: Decide[A], options: dict[str, Any], future: Future[Decision[A]]
    ) -> None:
        if not future.set_running_or_notify_cancel():
            return

        def unchanging(job: Job, history: History) -> Decision[A] | None:
            decision = decide(job, history)
            return decision if decision.job is job and _changes_nothing(decision) else None

        try:
            decision = self._jobs.read(token[0], unchanging)
        except Exception as error:
            future.set_exception(error)
            return
        if decision is not None:
            future.set_result(decision)
            return
        with self._lock:
            self._unchanging.pop(token, None)
        self._jobs.change(token[0], decide, **options).add_done_callback(lambda done: _pass_on(done, future))

    def _note(self, token: Hashable, done: Future[Decision[Any]]) -> None:
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            is_unchanging = _changes_nothing(done.result())
        else:
            is_unchanging = isinstance(error, RheostatError) and not isinstance(error, Unavailable)
        if is_unchanging:
            with self._lock:
                self._unchanging[token] = None
                if len(self._unchanging) > MOST_REMEMBERED:
                    self._unchanging.popitem(last=False)


def _changes_nothing(decision: Decision[Any]) -> bool:
    return decision.changes == NO_CHANGES and not decision.events and decision.audit is None


def _pass_on(done: Future[Decision[A]], future: Future[Decision[A]]) -> None:
    error = done.exception()
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(done.result())
