"""Where decisions on the hot path are made: from memory, many at once, in one durable commit.

A decision that memory cannot make, or that no longer holds when it is written, is made under the job's lock
instead, as if there were no memory. Correctness rests on that lock, on the job's version and on the constraints of
the database, never on what a process remembers.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any, Generic, TypeVar

from rheostat.errors import InvalidInput, RheostatError
from rheostat.service.notes import note
from rheostat.service.remembered import MOST_RUNNING, JobKey, Memory, RememberedJob, key_of
from rheostat.storage.commits import Commit, Renewal, write, write_within
from rheostat.storage.engine import Database, Transaction, wait_for_locks
from rheostat.storage.jobs import Jobs
from rheostat.storage.snapshots import JobSnapshot, read_snapshot, snapshot_of_job, snapshot_of_trial

_log = logging.getLogger(__name__)

CONTENDED_SECONDS = 1.0
"""For so long after another process has changed a job, too, decisions about it begin with its lock."""

LOCK_WAIT_SECONDS = 0.5
"""So long the desk waits for the lock of a job; the other jobs' decisions wait meanwhile."""

A = TypeVar("A")


class NotFromMemory(Exception):
    """The decision needs more than is remembered, or changes more than a commit holds."""


@dataclass(frozen=True, slots=True)
class Decision(Generic[A]):
    """A decision about a job, or about a trial and its job.

    Attributes:
        decide: Decides from what is remembered and returns what to write, and the answer.
        under_lock: Decides in a transaction of its own.
        namespace: Whose jobs may be decided about.
        job_id: The job; None: that of the trial.
        trial_id: The trial.
    """

    decide: Callable[[RememberedJob], tuple[Commit, A]]
    under_lock: Callable[[], A]
    namespace: str
    job_id: str | None = None
    trial_id: str | None = None


@dataclass(frozen=True, slots=True)
class SignOfLife(Generic[A]):
    """A renewal of a lease, which needs nothing of the job.

    Attributes:
        renewal: What to write.
        answer: What to answer when it holds.
        under_lock: What else to do, in a transaction of its own.
    """

    renewal: Renewal
    answer: A
    under_lock: Callable[[], A]


Question = Decision[Any] | SignOfLife[Any]


@dataclass(frozen=True, slots=True)
class Settled:
    """An answer whose commit is durable.

    Attributes:
        answer: The answer.
        commit: What was written; None for a sign of life.
    """

    answer: Any
    commit: Commit | None = None

    def tell(self) -> None:
        """Note for the request in hand what was written."""
        if self.commit is None:
            return
        trial = self.commit.trial
        note(job_id=self.commit.job.job_id)
        if self.commit.observation is None:
            note(started=True, trial_id=trial.trial_id, batch_size=trial.batch_size)
        elif trial.state != "running":
            note(ended=trial.state, energy_joules=trial.energy_joules, time_seconds=trial.time_seconds)


class Desk:
    """Makes the decisions of one process, one batch at a time.

    Args:
        database: Where the jobs are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._memory = Memory()
        self._contended: dict[JobKey, float] = {}
        self._lock = Lock()

    def ask(self, question: Decision[A] | SignOfLife[A]) -> A:
        """Return the answer to one question once it is durable."""
        (settled,) = self.settle([question])
        if settled is None:
            return question.under_lock()
        settled.tell()
        answer: A = settled.answer
        return answer

    def settle(self, questions: Sequence[Question]) -> list[Settled | None]:
        """Answer what can be answered from memory, all in one commit; None for what must be decided under lock."""
        settled: list[Settled | None] = [None] * len(questions)
        with self._lock:
            renewals = {at: question for at, question in enumerate(questions) if isinstance(question, SignOfLife)}
            decisions = {at: question for at, question in enumerate(questions) if isinstance(question, Decision)}
            contended: dict[JobKey, dict[int, Decision[Any]]] = defaultdict(dict)
            for at, answer in self._try(decisions, renewals, contended).items():
                settled[at] = answer
            for key, waiting in contended.items():
                for at, answer in self._try_under_lock(key, waiting).items():
                    settled[at] = answer
        return settled

    def _try(
        self,
        decisions: Mapping[int, Decision[Any]],
        renewals: Mapping[int, SignOfLife[Any]],
        contended: dict[JobKey, dict[int, Decision[Any]]],
    ) -> dict[int, Settled | None]:
        """Decide from memory and write; what another process has forestalled goes to the contended."""
        now = monotonic()
        proposals: dict[int, tuple[Commit, Any]] = {}
        for at, question in decisions.items():
            job = self._remembered(question)
            key = None if job is None else key_of(job.record)
            if key is not None and now < self._contended.get(key, 0.0):
                contended[key][at] = question
            elif job is not None and (proposal := self._propose(job, question)) is not None:
                proposals[at] = proposal
        if not proposals and not renewals:
            return {}
        try:
            written = write(
                self._database,
                [commit for commit, _ in proposals.values()],
                [question.renewal for question in renewals.values()],
            )
        except Exception as error:
            # Each is then tried by itself, and its answer tells what is wrong.
            _log.warning("a commit of %d decisions failed: %s", len(proposals), type(error).__name__)
            for commit, _ in proposals.values():
                self._memory.forget(key_of(commit.job))
            return {}
        answers: dict[int, Settled | None] = {}
        for (at, (commit, answer)), holds in zip(proposals.items(), written.commits, strict=True):
            if holds:
                answers[at] = Settled(answer, commit)
            else:
                key = key_of(commit.job)
                self._memory.forget(key)
                contended[key][at] = decisions[at]
        for (at, sign), holds in zip(renewals.items(), written.renewals, strict=True):
            answers[at] = Settled(sign.answer) if holds else None
        return answers

    def _try_under_lock(self, key: JobKey, questions: Mapping[int, Decision[Any]]) -> dict[int, Settled | None]:
        """Decide all that waits for a job in one transaction that holds its lock.

        Other processes want the same job, so that what is decided from memory is mostly forestalled.
        """
        namespace, job_id = key
        self._note_contention(key)

        def work(connection: Transaction) -> tuple[RememberedJob, dict[int, Settled | None]] | None:
            wait_for_locks(connection, LOCK_WAIT_SECONDS)
            record = Jobs(connection).find(namespace, job_id, lock=True)
            snapshot = read_snapshot(connection, record, MOST_RUNNING)
            if snapshot is None:
                return None
            job = RememberedJob(snapshot)
            answers: dict[int, Settled | None] = {}
            commits = []
            for at, question in questions.items():
                try:
                    commit, answer = question.decide(job)
                except (NotFromMemory, InvalidInput):  # which come before anything of the job is changed
                    continue
                commits.append(commit)
                answers[at] = Settled(answer, commit)
            write_within(connection, commits)
            return job, answers

        self._memory.forget(key)
        try:
            decided = self._database.write(work)
        except Exception as error:
            # Each is then decided by itself, and its answer tells what is wrong.
            _log.debug("not decided together", exc_info=error)
            return {}
        if decided is None:
            return {}
        job, answers = decided
        self._memory.remember(job)
        return answers

    def _note_contention(self, key: JobKey) -> None:
        now = monotonic()
        self._contended = {other: until for other, until in self._contended.items() if until > now}
        self._contended[key] = now + CONTENDED_SECONDS

    def _propose(self, job: RememberedJob, question: Decision[Any]) -> tuple[Commit, Any] | None:
        try:
            commit, answer = question.decide(job)
        except Exception as error:
            # Whatever is wrong is told by the decision under the lock, for memory may be what is wrong.
            if not isinstance(error, NotFromMemory | RheostatError):
                _log.debug("not decided from memory", exc_info=error)
            self._memory.forget(key_of(job.record))
            return None
        self._memory.note(job, commit.trial)
        return commit, answer

    def _remembered(self, question: Decision[Any]) -> RememberedJob | None:
        """Return the job of a decision, from memory or else read anew; None when it is not there or cannot be read."""
        try:
            return self._job(question)
        except Exception as error:
            _log.debug("not read", exc_info=error)
            return None

    def _job(self, question: Decision[Any]) -> RememberedJob | None:
        """Return the job of a decision, from memory or else read anew."""
        if question.job_id is not None:
            job = self._memory.job((question.namespace, question.job_id))
        else:
            assert question.trial_id is not None
            job = self._memory.job_of(question.trial_id)
            if job is not None and job.record.namespace != question.namespace:
                return None
        if job is None:
            snapshot = self._database.read(lambda connection: _read(connection, question))
            if snapshot is None:
                return None
            job = RememberedJob(snapshot)
            self._memory.remember(job)
        return job


def _read(connection: Transaction, question: Decision[Any]) -> JobSnapshot | None:
    if question.job_id is not None:
        return snapshot_of_job(connection, question.namespace, question.job_id, MOST_RUNNING)
    assert question.trial_id is not None
    return snapshot_of_trial(connection, question.namespace, question.trial_id, MOST_RUNNING)
