"""What every use case is given: where jobs are kept, a clock, the length of a lease, and for whom it works."""

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

from rheostat.domain import leases
from rheostat.domain.history import Decide, History
from rheostat.domain.job import Decision, Job
from rheostat.domain.trials import Clock
from rheostat.schemas.fields import DEFAULT_NAMESPACE
from rheostat.storage.audit import AuditTrail
from rheostat.storage.deletion import Purger
from rheostat.storage.engine import Database
from rheostat.storage.job_store import JobStore
from rheostat.storage.records import AuditRecord
from rheostat.storage.repeats import Repeats
from rheostat.storage.stored_job import JobKey, Key, TrialKey
from rheostat.storage.tokens import TokenStore

A = TypeVar("A")


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Service:
    """The surroundings of the use cases.

    Attributes:
        database: Where all state is.
        jobs: The jobs in it.
        repeats: Answers requests that are sent again.
        purger: Deletes what is left of deleted jobs.
        lease: How long a trial may be silent before it counts as abandoned.
        now: The clock, in UTC.
        namespace: Whose jobs are seen; those of others are as if they did not exist.
        actor: Who asks, for the audit trail.
    """

    database: Database
    jobs: JobStore
    repeats: Repeats
    purger: Purger
    lease: timedelta
    now: Callable[[], datetime]
    namespace: str = DEFAULT_NAMESPACE
    actor: str = "local"

    @classmethod
    def of(
        cls, database: Database, lease: timedelta = timedelta(minutes=15), now: Callable[[], datetime] = _utc_now
    ) -> Self:
        """Return a service over a database."""
        jobs = JobStore(database)
        return cls(database, jobs, Repeats(jobs), Purger(database), lease, now)

    def close(self) -> None:
        """Answer what was asked, and close all connections to the database."""
        self.repeats.close()
        self.jobs.close()
        self.purger.close()
        self.database.close()

    def deliver_with(self, deliver: Callable[[Callable[[], None]], object]) -> None:
        """Say how decisions are delivered; see :meth:`rheostat.storage.job_store.JobStore.deliver_with`."""
        self.jobs.deliver_with(deliver)

    @property
    def tokens(self) -> TokenStore:
        """The tokens in the database."""
        return TokenStore(self.database)

    @property
    def audit_trail(self) -> AuditTrail:
        """The audit trail in the database."""
        return AuditTrail(self.database)

    def on_behalf_of(self, actor: str, namespace: str) -> "Service":
        """Return the service for an actor who works in a namespace."""
        return replace(self, actor=actor, namespace=namespace)

    def job(self, job_id: str) -> JobKey:
        """Return the key of a job in this namespace."""
        return JobKey(self.namespace, job_id)

    def trial(self, trial_id: str) -> TrialKey:
        """Return the key of a trial's job in this namespace."""
        return TrialKey(self.namespace, trial_id)

    def clock(self) -> Clock:
        """Return the time of a decision."""
        return Clock(self.now(), self.lease)

    def change(
        self, key: Key, decide: Decide[A], *, repeat: Hashable | None = None, **options: Any
    ) -> Future[Decision[A]]:
        """Change a job for the actor; see :meth:`rheostat.storage.job_store.JobStore.change`.

        With ``repeat``, what a request has in common with its repetitions, :class:`rheostat.storage.repeats.Repeats`
        answers these.
        """

        def decide_now(job: Job, history: History) -> Decision[A]:
            return leases.take_back(decide(job, history), self.clock())

        if repeat is None:
            return self.jobs.change(key, decide_now, actor=self.actor, **options)
        return self.repeats.change(key, decide_now, repeat=repeat, actor=self.actor, **options)

    def touch(self, key: Key) -> None:
        """Let a job be written if time alone has changed it; nothing waits for that."""
        self.change(key, lambda job, _: Decision(None, job))

    def audit_entry(self, action: str, subject: str, *, namespace: str | None, **details: Any) -> AuditRecord:
        """Return an entry of the audit trail about something that is no job."""
        return AuditRecord(self.now(), namespace, self.actor, action, subject, details)
