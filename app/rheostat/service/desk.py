"""Where decisions on the hot path are made: from memory, many at once, in one durable commit.

A decision that memory cannot make, or that no longer holds when it is written, is made under the job's lock
instead, as if there were no memory. Correctness rests on that lock, on the job's version and on the constraints of
the database, never on what a process remembers.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, TypeVar

from rheostat.errors import RheostatError
from rheostat.service.notes import note
from rheostat.service.remembered import MOST_RUNNING, Memory, RememberedJob, key_of
from rheostat.storage.commits import Commit, Renewal, write
from rheostat.storage.engine import Database, Transaction
from rheostat.storage.snapshots import JobSnapshot, snapshot_of_job, snapshot_of_trial

_log = logging.getLogger(__name__)

TRIES = 3
"""So often a decision is made from what is read without a lock; busier jobs are decided under it."""

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
            open_questions = dict(enumerate(questions))
            for _ in range(TRIES):
                if not open_questions:
                    break
                answers = self._try(open_questions)
                for at, answer in answers.items():
                    settled[at] = answer
                    if answer is not None or isinstance(questions[at], SignOfLife):
                        del open_questions[at]
            for question in open_questions.values():
                self._forget(question)
        return settled

    def _try(self, questions: dict[int, Question]) -> dict[int, Settled | None]:
        """Decide and write; what did not hold is None, what cannot be decided so is taken out of the questions."""
        renewals = {at: question for at, question in questions.items() if isinstance(question, SignOfLife)}
        proposals: dict[int, tuple[Commit, Any]] = {}
        for at, question in list(questions.items()):
            if isinstance(question, Decision):
                proposal = self._propose(question)
                if proposal is None:
                    del questions[at]
                else:
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
            _log.warning("a commit of %d decisions failed: %s", len(questions), type(error).__name__)
            for commit, _ in proposals.values():
                self._memory.forget(key_of(commit.job))
            questions.clear()
            return {}
        answers: dict[int, Settled | None] = {}
        for (at, (commit, answer)), holds in zip(proposals.items(), written.commits, strict=True):
            answers[at] = Settled(answer, commit) if holds else None
            if not holds:
                self._memory.forget(key_of(commit.job))
        for (at, sign), holds in zip(renewals.items(), written.renewals, strict=True):
            answers[at] = Settled(sign.answer) if holds else None
        return answers

    def _propose(self, question: Decision[Any]) -> tuple[Commit, Any] | None:
        job = None
        try:
            job = self._job(question)
            if job is None:
                return None
            commit, answer = question.decide(job)
        except Exception as error:
            # Whatever is wrong is told by the decision under the lock, for memory may be what is wrong.
            if not isinstance(error, NotFromMemory | RheostatError):
                _log.debug("not decided from memory", exc_info=error)
            if job is not None:
                self._memory.forget(key_of(job.record))
            return None
        self._memory.note(job, commit.trial)
        return commit, answer

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

    def _forget(self, question: Question) -> None:
        if isinstance(question, Decision):
            job = self._memory.job_of(question.trial_id) if question.trial_id else None
            if question.job_id is not None:
                self._memory.forget((question.namespace, question.job_id))
            elif job is not None and job.record.namespace == question.namespace:
                self._memory.forget(key_of(job.record))


def _read(connection: Transaction, question: Decision[Any]) -> JobSnapshot | None:
    if question.job_id is not None:
        return snapshot_of_job(connection, question.namespace, question.job_id, MOST_RUNNING)
    assert question.trial_id is not None
    return snapshot_of_trial(connection, question.namespace, question.trial_id, MOST_RUNNING)
