"""Derives a job's policy states from its evidence again, piece by piece.

A fold of many trials takes long, and a transaction must not. A :class:`Refold` therefore takes the evidence in parts,
which may be read at different times: what has a place in the order of a job's evidence never changes. It is a value, so
that a decision can take the rest and be decided a second time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from rheostat.domain.evidence import fold
from rheostat.domain.history import Derived, History
from rheostat.domain.job import Draft, Job
from rheostat.domain.records import Evidence

_NOT_YET = 2**62
"""Stands for the place of the next piece of evidence, which moves on while others are folded."""


@dataclass(frozen=True, slots=True)
class Refold:
    """The policy states of a job as far as they are derived.

    Attributes:
        job: The job that they are derived for, with these states.
        next_sequence: The place of the next piece of evidence to take.
        pieces: How many pieces were taken.
    """

    job: Job
    next_sequence: int = 1
    pieces: int = 0

    @classmethod
    def begin(cls, job: Job) -> Self:
        """Return the states of a job without any evidence.

        All placements are registered first: what one learns may depend on what the others know by then.

        Raises:
            PolicyFailed: The policy raised.
        """
        draft = Draft(replace(job, states={}, judging=_judging(job)))
        for placement in job.placements.values():
            draft.advisor.register(draft.view(placement), job.settings.batch_sizes)
        return cls(_derived(draft))

    def take(self, evidence: Iterable[Evidence], before: int) -> "Refold":
        """Return the states with the evidence of the places from the next one up to another one.

        Raises:
            PolicyFailed: The policy raised.
        """
        draft, pieces = Draft(self.job), self.pieces
        for piece in evidence:
            fold(draft, piece)
            pieces += 1
        return Refold(_derived(draft), before, pieces)

    def is_of(self, job: Job) -> bool:
        """Return whether the states are those of a job, too, as far as they are derived."""
        return are_alike(self.job, job)

    @property
    def result(self) -> Derived:
        """The states, and how many pieces of evidence are in them."""
        return Derived(self.job.states, self.pieces)


def are_alike(one: Job, other: Job) -> bool:
    """Return whether the policy states of two versions of a job depend on the evidence alone."""
    return _inputs(one) == _inputs(other)


class RefoldNeeded(Exception):
    """A decision needs policy states that take too long to derive while a job is locked.

    Args:
        refold: How far they are derived.
    """

    def __init__(self, refold: Refold) -> None:
        super().__init__(f"{refold.job.job_id}: policy states are to be derived from place {refold.next_sequence} on")
        self.refold = refold


def derive(job: Job, history: History) -> Derived:
    """Return the policy states of a job, derived from all its evidence at once.

    Raises:
        PolicyFailed: The policy raised.
    """
    return Refold.begin(job).take(history.evidence(), job.next_sequence).result


def _derived(draft: Draft) -> Job:
    job = draft.decided(None).job
    assert job is not None
    return job


def _judging(job: Job) -> Mapping[str, int] | None:
    """Return a job's judging for evidence that may yet come before a change of its settings is made."""
    if job.judging is None:
        return None
    return {name: place if place < job.next_sequence else _NOT_YET for name, place in job.judging.items()}


def _inputs(job: Job) -> tuple[Any, ...]:
    """Return all of a job that its policy states depend on beside the evidence."""
    placements = [
        (key, place.min_power_limit_watts, place.max_power_limit_watts, place.nominal_power_watts)
        for key, place in job.placements.items()
    ]
    return job.job_id, job.created_at, job.seed, job.settings, _judging(job), placements
