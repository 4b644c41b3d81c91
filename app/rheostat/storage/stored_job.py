"""A job in the database: which row it is, and how it is read."""

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, RowMapping, Select, Table, bindparam, select

from rheostat.domain.job import Job, stored_settings
from rheostat.domain.records import PlacementKey, PlacementRecord, TrialRecord
from rheostat.storage.statements import Statement, first_rows
from rheostat.storage.tables import jobs, placements, policy_states, trials


class JobKey(NamedTuple):
    """Names a job."""

    namespace: str
    job_id: str


class TrialKey(NamedTuple):
    """Names a job by one of its trials; a trial of another namespace names none."""

    namespace: str
    trial_id: str


Key = JobKey | TrialKey

# Not the module's own generator, which a policy may seed; not the system's, which costs a call.
_versions = random.Random()  # noqa: S311
os.register_at_fork(after_in_child=_versions.seed)


@dataclass(frozen=True, slots=True)
class JobRow:
    """Where a job is, and its version: a number that every change of it, or of anything below it, draws again."""

    job_pk: int
    version: int


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job as it was at a version.

    Attributes:
        row: Its row.
        placement_pks: The rows of its placements.
        job: The job.
    """

    row: JobRow
    placement_pks: Mapping[PlacementKey, int]
    job: Job


def new_version() -> int:
    """Return a version for a job that changes.

    It is drawn, not counted: two processes that change a job at once must not arrive at the same version, and a
    job that got the row of a deleted one must not pass for that one.
    """
    return _versions.getrandbits(62)


def find_jobs(connection: Connection, keys: Sequence[Key], *, lock: bool = False) -> list[JobRow | None]:
    """Return the rows of jobs, each None when it does not exist or, with ``lock``, when another transaction holds it.

    With ``lock``, no other transaction changes the jobs that are returned until this one ends. (SQLite's transactions
    have the whole database.)
    """
    lock = lock and connection.dialect.name == "postgresql"
    statements = [(_FIND[type(key), lock], key._asdict()) for key in keys]
    return [None if row is None else JobRow(*row) for row in first_rows(connection, statements)]


def lock_job(connection: Connection, job_pk: int) -> None:
    """Wait until no other transaction holds a job, and lock it.

    Raises:
        DBAPIError: Another transaction holds it for longer than the lock timeout.
    """
    connection.execute(select(jobs.c.job_pk).where(jobs.c.job_pk == job_pk).with_for_update(key_share=True))


def load_job(connection: Connection, job_pk: int) -> StoredJob:
    """Read a job with all that decisions about it usually need."""
    (stored,) = load_jobs(connection, [job_pk])
    return stored


def load_jobs(connection: Connection, job_pks: Sequence[int]) -> list[StoredJob]:
    """Read jobs as :func:`load_job` does, in as many statements as for one."""
    rows = _rows_of(connection, jobs, jobs.c.job_pk, job_pks)
    found = _rows_of(connection, placements, placements.c.placement_pk, job_pks)
    records = {row["placement_pk"]: placement_of(row) for row in found}
    keys = {pk: record.key for pk, record in records.items()}
    states: dict[int, dict[Any, Any]] = {}
    query = select(policy_states.c.placement_pk, policy_states.c.part, policy_states.c.state)
    for placement_pk, part, state in connection.execute(query.where(policy_states.c.placement_pk.in_(keys))):
        states.setdefault(placement_pk, {})[part] = state
    running: dict[int, dict[str, TrialRecord]] = {}
    for row in _rows_of(connection, trials, trials.c.number, job_pks, trials.c.state == "running"):
        running.setdefault(row["job_pk"], {})[row["trial_id"]] = trial_of(row, keys)
    placed: dict[int, list[int]] = {}
    for row in found:
        placed.setdefault(row["job_pk"], []).append(row["placement_pk"])
    return [_stored(row, placed.get(row["job_pk"], []), records, states, running) for row in rows]


def job_of(row: RowMapping, **parts: Any) -> Job:
    """Return the job of a row with its parts."""
    return Job(
        job_id=row["job_id"],
        settings=stored_settings(row["settings"]),
        registered_settings=row["registered_settings"],
        seed=row["seed"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        next_trial_number=row["next_trial_number"],
        next_sequence=row["next_sequence"],
        control=row["control"],
        judging=row["judging"],
        **parts,
    )


def placement_of(row: RowMapping) -> PlacementRecord:
    """Return the placement of a row."""
    fields: dict[str, Any] = {**row}
    del fields["placement_pk"], fields["job_pk"]
    return PlacementRecord(**fields)


def trial_of(row: RowMapping, placement_keys: Mapping[int, PlacementKey]) -> TrialRecord:
    """Return the trial of a row."""
    fields: dict[str, Any] = {**row}
    del fields["job_pk"]
    return TrialRecord(placement=placement_keys[fields.pop("placement_pk")], **fields)


def _stored(
    row: RowMapping,
    placement_pks: Sequence[int],
    records: Mapping[int, PlacementRecord],
    states: Mapping[int, Mapping[Any, Any]],
    running: Mapping[int, Mapping[str, TrialRecord]],
) -> StoredJob:
    its = {records[pk].key: pk for pk in placement_pks}
    job = job_of(
        row,
        placements={records[pk].key: records[pk] for pk in placement_pks},
        states={key: states[pk] for key, pk in its.items() if pk in states},
        running=running.get(row["job_pk"], {}),
    )
    return StoredJob(JobRow(row["job_pk"], row["version"]), its, job)


def _rows_of(
    connection: Connection, table: Table, order: Column[Any], job_pks: Sequence[int], *conditions: ColumnElement[bool]
) -> Sequence[RowMapping]:
    query = select(table).where(table.c.job_pk.in_(job_pks), *conditions).order_by(order)
    return connection.execute(query).mappings().all()


def _bind(table: Table, name: str) -> Any:
    return bindparam(name, type_=table.c[name].type)


def _find(kind: type[Key]) -> Select[Any]:
    if kind is JobKey:
        condition = jobs.c.job_id == _bind(jobs, "job_id")
    else:
        owner = select(trials.c.job_pk).where(trials.c.trial_id == _bind(trials, "trial_id"))
        condition = jobs.c.job_pk == owner.scalar_subquery()
    return select(jobs.c.job_pk, jobs.c.version).where(jobs.c.namespace == _bind(jobs, "namespace"), condition)


_FIND = {
    (kind, lock): Statement(
        _find(kind).with_for_update(of=jobs, key_share=True, skip_locked=True) if lock else _find(kind)
    )
    for kind in (JobKey, TrialKey)
    for lock in (False, True)
}
