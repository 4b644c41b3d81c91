"""Where jobs are kept: the one way to change a job, and to read one.

:meth:`JobStore.change` takes the job as it is now, calls a pure decision, and writes what it changes in the same
transaction. All changes go through one thread, which takes along whatever is waiting: the more requests wait, the more
share one commit, and a single one goes at once. In a transaction the rows of the jobs are locked (SQLite has one
writer anyway), and a job is read again only if its version in the database is not the cached one. Correctness rests on
the lock and on the version, never on what a process holds in memory, so any number of processes may serve one database.

On PostgreSQL a job whose row another transaction holds is left out of the commit at hand, and its changes wait for the
lock in a thread of their own: one locked job does not delay the others.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from threading import BoundedSemaphore, Lock, Thread
from typing import Any, NoReturn, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from rheostat.domain.history import Decide
from rheostat.domain.job import Decision, Job
from rheostat.domain.refold import Refold, RefoldNeeded
from rheostat.domain.trials import no_such_trial
from rheostat.errors import DatabaseBusy, DatabaseUnavailable, JobNotFound
from rheostat.storage.audit import add_audit_entry
from rheostat.storage.engine import Database
from rheostat.storage.history import StoredHistory
from rheostat.storage.job_cache import JobCache
from rheostat.storage.records import AuditRecord
from rheostat.storage.refolding import Outcome, Refolder, stopping
from rheostat.storage.stored_job import JobKey, JobRow, Key, StoredJob, find_jobs, load_job, lock_job
from rheostat.storage.writes import Writes

MOST_IN_COMMIT = 16
"""Changes in one commit: an answer waits for those before it, so there must not be too many."""

MOST_TRIES = 20
"""Times that policy states are derived for a change: each time something else may have changed that they depend on."""

MOST_WAITING_JOBS = 16
"""Jobs whose lock is waited for at a time."""

LONGEST_CLOSE_SECONDS = 5.0

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class _Change:
    """A change that waits to be decided.

    Attributes:
        key: The job.
        decide: Decides about it.
        if_missing: Decides where there is no such job.
        actor: Who asks, for the audit trail.
        future: Receives the decision once it is durable.
        refold: Policy states that were derived for it; None: none were.
        tries: How often it waited for such.
    """

    key: Key
    decide: Decide[Any]
    if_missing: Callable[[], Decision[Any]]
    actor: str
    future: Future[Decision[Any]] = field(default_factory=Future)
    refold: Refold | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class _Committed:
    """What one transaction came to.

    Attributes:
        outcomes: The changes with their decisions, or with the errors that refused them.
        unfolded: The changes that wait for policy states, with the rows of their jobs.
        jobs: The jobs as they are now.
        locked: By the rows of locked jobs the changes that were not decided.
    """

    outcomes: list[tuple[_Change, Decision[Any] | Exception]]
    unfolded: list[tuple[_Change, int, Refold]]
    jobs: list[StoredJob]
    locked: dict[int, list[_Change]]


_Write = Callable[[Callable[[Connection], _Committed]], _Committed]
"""Runs work in a transaction, as :meth:`Database.write` does."""


class JobStore:
    """The jobs of a database.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache = JobCache()
        self._queue: SimpleQueue[_Change | None] = SimpleQueue()
        self._lock = Lock()
        self._writer: Thread | None = None
        self._closed = False
        self._locked: dict[int, list[_Change]] = {}
        self._refolder = Refolder(self.read)
        self._waiters = BoundedSemaphore(MOST_WAITING_JOBS)
        self._deliver: Callable[[Callable[[], None]], object] = lambda resolve: resolve()

    def change(
        self,
        key: Key,
        decide: Decide[A],
        *,
        if_missing: Callable[[], Decision[A]] | None = None,
        actor: str = "local",
        alone: bool = False,
    ) -> Future[Decision[A]]:
        """Decide about a job and write what that changes.

        The decision may be called more than once: after a lost race, or when another change of the same commit failed.

        Args:
            key: The job, or a trial of it.
            decide: A pure function of the job and its history; it raises a :class:`RheostatError` to refuse.
            if_missing: Decides where there is no such job, as to register it; None: that is an error.
            actor: Who asks, for the audit trail.
            alone: Whether the decision takes long; it then has a transaction and a thread of its own.

        Returns:
            The decision, once it is durable. It fails with what ``decide`` raised, with :class:`JobNotFound` or
            :class:`TrialNotFound`, or with :class:`Unavailable` when the database cannot be written.
        """
        change = _Change(key, decide, if_missing or (lambda: _raise_missing(key)), actor)
        if alone:
            Thread(target=self._take, args=([change], self._database.write), name="long-change", daemon=True).start()
        elif not self._enqueue(change):
            change.future.set_exception(stopping())
        return change.future

    def read(self, key: Key, work: Callable[[Job, StoredHistory], A]) -> A:
        """Return what a function makes of a job and its history, as of one moment.

        Raises:
            JobNotFound: There is no such job.
            TrialNotFound: There is no such trial.
            Unavailable: The database cannot be read.
        """

        def read(connection: Connection) -> A:
            (row,) = find_jobs(connection, [key])
            if row is None:
                return _raise_missing(key)
            stored = self._stored(connection, row)
            return work(stored.job, StoredHistory(connection, stored))

        return self._database.read(read)

    def deliver_with(self, deliver: Callable[[Callable[[], None]], object]) -> None:
        """Let a function resolve the futures of a commit, as an event loop's ``call_soon_threadsafe`` does.

        Resolved one by one in the writing thread, each would wake the loop, which then keeps the interpreter's lock
        from the next commit.
        """
        self._deliver = deliver

    def close(self) -> None:
        """Stop once all that was asked is answered; a database that does not answer is not waited for."""
        self._refolder.close()
        with self._lock:
            self._closed = True
            self._queue.put(None)
        if self._writer is not None:
            self._writer.join(LONGEST_CLOSE_SECONDS)

    def _enqueue(self, change: _Change) -> bool:
        """Let the writer decide a change; return whether there still is one."""
        with self._lock:
            if self._closed:
                return False
            if self._writer is None:
                self._writer = Thread(target=self._write, name="job-writer", daemon=True)
                self._writer.start()
            self._queue.put(change)
            return True

    def _write(self) -> None:
        with closing(self._database.session()) as session:
            while True:
                batch = [self._queue.get()]
                while len(batch) < MOST_IN_COMMIT and batch[-1] is not None and not self._queue.empty():
                    batch.append(self._queue.get())
                changes = [change for change in batch if change is not None]
                self._take(changes, session.write)
                if len(changes) < len(batch):
                    return

    def _take(self, changes: Sequence[_Change], write: _Write) -> None:
        """Commit the changes that are still wanted: from here on they are not cancelled any more."""
        wanted = [c for c in changes if c.future.running() or c.future.set_running_or_notify_cancel()]
        self._commit(wanted, write)

    def _commit(self, changes: Sequence[_Change], write: _Write, locked_job_pk: int | None = None) -> None:
        """Decide changes in one transaction and hand out the decisions; those of locked jobs begin to wait.

        Args:
            changes: The changes.
            write: Runs the transaction.
            locked_job_pk: The job whose lock to wait for; None: wait for none.
        """
        if not changes:
            return
        try:
            committed = write(lambda connection: self._decide(connection, changes, locked_job_pk))
        except Exception as error:
            self._fail(changes, write, locked_job_pk, error)
            return
        for stored in committed.jobs:
            self._cache.put(stored)
        self._hand_out(committed.outcomes)
        for change, job_pk, refold in committed.unfolded:
            self._derive(change, job_pk, refold)
        for job_pk, waiting in committed.locked.items():
            self._wait_for_lock(job_pk, waiting)

    def _hand_out(self, outcomes: Sequence[tuple[_Change, Decision[Any] | Exception]]) -> None:
        def resolve() -> None:
            for change, outcome in outcomes:
                if isinstance(outcome, Exception):
                    change.future.set_exception(outcome)
                else:
                    change.future.set_result(outcome)

        try:
            self._deliver(resolve)
        except RuntimeError:  # the event loop has closed
            resolve()

    def _fail(self, changes: Sequence[_Change], write: _Write, locked_job_pk: int | None, error: Exception) -> None:
        """Answer changes whose commit failed, or commit each by itself: one may have been the cause for all."""
        unreachable = isinstance(error, DatabaseUnavailable) and isinstance(error.__cause__, OperationalError)
        if len(changes) == 1 or unreachable:
            self._hand_out([(change, error) for change in changes])
            return
        for change in changes:
            self._commit([change], write, locked_job_pk)

    def _decide(self, connection: Connection, changes: Sequence[_Change], locked_job_pk: int | None) -> "_Committed":
        """Decide in a transaction, and write."""
        if locked_job_pk is not None:
            lock_job(connection, locked_job_pk)
        rows = find_jobs(connection, [change.key for change in changes], lock=True)
        absent = [change for change, row in zip(changes, rows, strict=True) if row is None]
        locked: dict[int, list[_Change]] = {}
        for change, row in zip(absent, find_jobs(connection, [change.key for change in absent]), strict=True):
            if row is not None:
                locked.setdefault(row.job_pk, []).append(change)
        waiting = {id(change) for changes_of_job in locked.values() for change in changes_of_job}
        transaction = _Transaction(connection, self._stored)
        for change, row in zip(changes, rows, strict=True):
            if id(change) not in waiting:
                transaction.decide(change, row)
        transaction.writes.flush()
        return _Committed(transaction.outcomes, transaction.unfolded, transaction.stored, locked)

    def _derive(self, change: _Change, job_pk: int, refold: Refold) -> None:
        """Let a change wait until policy states are derived, and decide it then; others go on."""
        if change.tries == MOST_TRIES:
            self._hand_out([(change, DatabaseBusy("Its job changed again and again meanwhile.", hint="Try again."))])
            return

        def decide_again(outcome: Outcome) -> None:
            if isinstance(outcome, Exception):
                self._hand_out([(change, outcome)])
            elif not self._enqueue(replace(change, refold=outcome, tries=change.tries + 1)):
                self._hand_out([(change, stopping())])

        self._refolder.start(job_pk, change.key, refold, decide_again)

    def _wait_for_lock(self, job_pk: int, changes: Sequence[_Change]) -> None:
        """Let changes wait for their job's lock, in one thread a job."""
        with self._lock:
            if job_pk in self._locked:
                self._locked[job_pk] += changes
                return
            self._locked[job_pk] = list(changes)
        try:
            Thread(target=self._commit_locked, args=(job_pk,), name="locked-job", daemon=True).start()
        except RuntimeError as error:  # the machine has no thread left
            with self._lock:
                refused = self._locked.pop(job_pk)
            busy = DatabaseBusy("Timed out waiting for a database lock.", hint="Try again.")
            busy.__cause__ = error
            self._hand_out([(change, busy) for change in refused])

    def _commit_locked(self, job_pk: int) -> None:
        with self._waiters:
            while True:
                with self._lock:
                    waiting = self._locked[job_pk]
                    changes, self._locked[job_pk] = waiting[:MOST_IN_COMMIT], waiting[MOST_IN_COMMIT:]
                    if not changes:
                        del self._locked[job_pk]
                        return
                self._commit(changes, self._database.write, job_pk)

    def _stored(self, connection: Connection, row: JobRow) -> StoredJob:
        """Return a job as it is in the database, from the cache if its version is the cached one."""
        cached = self._cache.get(row)
        if cached is None:
            cached = load_job(connection, row.job_pk)
            self._cache.put(cached)
        return cached


class _Transaction:
    """Decides changes one after the other, each on what those before it left.

    Args:
        connection: The transaction, which holds the lock of every job that is decided about.
        read_job: Returns the job of a row.
    """

    def __init__(self, connection: Connection, read_job: Callable[[Connection, JobRow], StoredJob]) -> None:
        self.writes = Writes(connection)
        self._connection = connection
        self._read_job = read_job
        self._jobs: dict[int, StoredJob | None] = {}
        self.outcomes: list[tuple[_Change, Decision[Any] | Exception]] = []
        self.unfolded: list[tuple[_Change, int, Refold]] = []

    @property
    def stored(self) -> list[StoredJob]:
        """The jobs as they will be when the transaction is committed."""
        return [stored for stored in self._jobs.values() if stored is not None]

    def decide(self, change: _Change, row: JobRow | None) -> None:
        """Decide a change, and note the decision, or its error if it is refused or the decision fails.

        Raises:
            SQLAlchemyError: The database failed, which concerns the whole transaction.
        """
        before = None
        if row is not None:
            before = self._jobs[row.job_pk] if row.job_pk in self._jobs else self._read_job(self._connection, row)
        outcome: Decision[Any] | Exception
        try:
            outcome = self._decision(change, before)
        except SQLAlchemyError:
            raise
        except RefoldNeeded as needed:
            assert row is not None
            self.unfolded.append((change, row.job_pk, needed.refold))
            return
        except Exception as error:
            outcome = error
        except BaseException as error:  # as of a policy that calls sys.exit: it ends neither this thread nor the server
            outcome = RuntimeError(f"The decision raised {type(error).__name__}.")
            outcome.__cause__ = error
        else:
            self._write(change, before, outcome)
        self.outcomes.append((change, outcome))

    def _decision(self, change: _Change, before: StoredJob | None) -> Decision[Any]:
        if before is None:
            return change.if_missing()
        history = StoredHistory(self._connection, before, self.writes.flush, change.refold)
        return change.decide(before.job, history)

    def _write(self, change: _Change, before: StoredJob | None, decision: Decision[Any]) -> None:
        """Write a decision; whatever fails here concerns the whole transaction, for half of it may be written."""
        if before is None:
            assert decision.job is not None
            stored = self.writes.add_job(change.key.namespace, decision.job)
            self._jobs[stored.row.job_pk] = stored
        elif decision.job is None:
            self.writes.delete_job(before.row.job_pk)
            self._jobs[before.row.job_pk] = None
        else:
            self._jobs[before.row.job_pk] = self.writes.add(before, decision.job, decision.changes)
        self._audit(change, decision)

    def _audit(self, change: _Change, decision: Decision[Any]) -> None:
        if decision.audit is None or not isinstance(change.key, JobKey):
            return
        note, key = decision.audit, change.key
        add_audit_entry(
            self._connection,
            AuditRecord(note.at, key.namespace, change.actor, note.action, key.job_id, note.details),
        )


def _raise_missing(key: Key) -> NoReturn:
    if isinstance(key, JobKey):
        hint = "Register it first: PUT /v1/jobs/{job_id}; a trainer does it by itself. `rheostat jobs list` shows all."
        raise JobNotFound(f"There is no job {key.job_id!r}.", hint=hint)
    raise no_such_trial(key.trial_id)
