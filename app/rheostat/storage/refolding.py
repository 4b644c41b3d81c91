"""Derives policy states from a job's evidence beside what else goes on, for a decision that waits for them.

The evidence is read in pages, each in a transaction of its own, and folded between them: no lock is held, and other
threads take their turns. What comes meanwhile is taken at the end; the last few pieces, and that nothing changed on
which the states depend, are the decision's own business (:meth:`rheostat.storage.history.StoredHistory.derived`).
"""

import time
from collections.abc import Callable, Iterable, Iterator
from threading import BoundedSemaphore, Event, Lock, Thread
from typing import Any

from rheostat.domain.job import Job
from rheostat.domain.records import Evidence
from rheostat.domain.refold import Refold, are_alike
from rheostat.errors import DatabaseBusy, DatabaseUnavailable
from rheostat.storage.history import Page, StoredHistory
from rheostat.storage.stored_job import Key

PAGE = 64
"""Places in the order of evidence that are read at a time: some milliseconds of work."""

LEFT = 8
"""Pieces that are left for the decision: more may come before it is made."""

AT_A_TIME = 2
"""Jobs whose states are derived at a time; others wait for their turn."""

Outcome = Refold | Exception | None
"""States as far as they are derived, or why they are not; None: another decision may have brought them up to date."""

_Then = Callable[[Outcome], None]


class Refolder:
    """Derives policy states in threads of its own, for one decision about a job at a time.

    Args:
        read: Reads a job and its history, as :meth:`rheostat.storage.job_store.JobStore.read` does.
    """

    def __init__(self, read: Callable[[Key, Callable[[Job, StoredHistory], Any]], Any]) -> None:
        self._read = read
        self._lock = Lock()
        self._waiting: dict[int, list[_Then]] = {}
        self._turns = BoundedSemaphore(AT_A_TIME)
        self._closed = Event()

    def start(self, job_pk: int, key: Key, refold: Refold, then: _Then) -> None:
        """Go on with a refold and call a function with what it comes to.

        While another one of the same job goes on, that is waited for instead.
        """
        with self._lock:
            if job_pk in self._waiting:
                self._waiting[job_pk].append(then)
                return
            self._waiting[job_pk] = []
        try:
            Thread(target=self._work, args=(job_pk, key, refold, then), name="refold", daemon=True).start()
        except RuntimeError as error:  # the machine has no thread left
            busy = DatabaseBusy("No thread is free to derive the policy's state.", hint="Try again.")
            busy.__cause__ = error
            self._end(job_pk, then, busy)

    def close(self) -> None:
        """Give up what goes on; nothing is changed by it."""
        self._closed.set()

    def _work(self, job_pk: int, key: Key, refold: Refold, then: _Then) -> None:
        outcome: Outcome
        try:
            with self._turns:
                outcome = self._caught_up(key, refold)
        except Exception as error:
            outcome = error
        except BaseException as error:  # as of a policy that calls sys.exit
            outcome = RuntimeError(f"Deriving the policy's state raised {type(error).__name__}.")
            outcome.__cause__ = error
        self._end(job_pk, then, outcome)

    def _end(self, job_pk: int, then: _Then, outcome: Outcome) -> None:
        with self._lock:
            waiting = self._waiting.pop(job_pk)
        then(outcome)
        for other in waiting:
            other(None)

    def _caught_up(self, key: Key, refold: Refold) -> Refold:
        """Return the states with all evidence but for the last few pieces, which the decision takes.

        Where something changes meanwhile on which they depend, the decision begins again.
        """
        first: Job | None = None
        while True:
            if self._closed.is_set():
                raise stopping()
            job, page = self._page(key, refold.next_sequence)
            first = first or job
            if not (are_alike(first, job) and job.placements.keys() <= refold.job.placements.keys()):
                return refold
            refold = refold.take(_with_pauses(page.evidence), page.before)
            if page.left <= LEFT:
                return refold

    def _page(self, key: Key, since: int) -> tuple[Job, Page]:
        found: tuple[Job, Page] = self._read(key, lambda job, history: (job, history.page(since, PAGE)))
        return found


def stopping() -> DatabaseUnavailable:
    """Return the error for what a server that stops does not do any more."""
    return DatabaseUnavailable("The server is stopping.", hint="Try again.")


def _with_pauses(evidence: Iterable[Evidence]) -> Iterator[Evidence]:
    """Iterate over evidence, and let another thread run after each piece if one waits for the interpreter."""
    for piece in evidence:
        yield piece
        time.sleep(0)
