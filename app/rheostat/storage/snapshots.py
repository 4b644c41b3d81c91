"""A job with all that decisions about it rest on, read at once."""

from dataclasses import dataclass

from sqlalchemy import Connection

from rheostat.policy.interface import State
from rheostat.storage.jobs import Jobs, Placements
from rheostat.storage.policy_states import states_of
from rheostat.storage.records import JobRecord, PlacementRecord, TrialRecord
from rheostat.storage.trials import Trials


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """A job as it was at ``job.version``; true only as long as the job has that version.

    Attributes:
        job: The job.
        placements: Its placements, in the order in which they came.
        states: The parts of the policy's state by row of the placement.
        running: The trials recorded as running, in the order of their numbers.
    """

    job: JobRecord
    placements: list[PlacementRecord]
    states: dict[int, dict[str, State]]
    running: list[TrialRecord]


def read_snapshot(connection: Connection, job: JobRecord | None, most_running: int) -> JobSnapshot | None:
    """Return a job with what is below it, or None when there is no such job, or too much below it.

    Nothing is locked. The job comes first: what changes meanwhile changes its version, so a snapshot of two
    moments never passes for one.

    Args:
        connection: The transaction.
        job: The job, read in it.
        most_running: So many running trials are not too many.
    """
    if job is None:
        return None
    running = Trials(connection).running(job.job_pk, most_running + 1)
    if len(running) > most_running:
        return None
    found = Placements(connection).of_jobs([job.job_pk])
    states = states_of(connection, [placement.placement_pk for placement in found])
    return JobSnapshot(job, found, states, running)


def snapshot_of_job(connection: Connection, namespace: str, job_id: str, most_running: int) -> JobSnapshot | None:
    """Return the snapshot of a job; see :func:`read_snapshot`."""
    return read_snapshot(connection, Jobs(connection).find(namespace, job_id), most_running)


def snapshot_of_trial(connection: Connection, namespace: str, trial_id: str, most_running: int) -> JobSnapshot | None:
    """Return the snapshot of the job of a trial; see :func:`read_snapshot`."""
    return read_snapshot(connection, Jobs(connection).find_by_trial(namespace, trial_id), most_running)
