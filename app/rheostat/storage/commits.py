"""What decisions write: many in one commit, and no waiting for a job's lock.

A commit of a job holds only when the job's version in the database is the one that the decision was made on; else
nothing of it is written. So it does not matter from where the decider knew the job. On PostgreSQL all commits go out
in one pipeline, which is one transaction, and no statement waits for a job's row: two servers cannot wait for each
other.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.types import JSON

from rheostat.storage import statements
from rheostat.storage.engine import Database
from rheostat.storage.records import JobRecord, ObservationRecord, TrialRecord
from rheostat.storage.tables import UtcDateTime, observations, trials

_Convert = Callable[[Any], Any]
_Fields = list[tuple[str, str, _Convert | None]]


@dataclass(frozen=True, slots=True)
class Commit:
    """What one decision writes.

    Attributes:
        job: The job as the decision leaves it, with its counters and its new version.
        version: The version that the decision was made on.
        trial: The trial that is new, or that changed.
        observation: The report that changed it; None: the trial is new.
        states: Row of the placement, part and JSON of each part of the policy's state that changed.
    """

    job: JobRecord
    version: int
    trial: TrialRecord
    observation: ObservationRecord | None = None
    states: tuple[tuple[int, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Renewal:
    """A sign of life: the lease of a trial that is recorded as running lasts until then.

    It does nothing to the trial of another namespace.
    """

    namespace: str
    trial_id: str
    lease_expires_at: datetime


@dataclass(frozen=True, slots=True)
class Written:
    """Which of the commits and which of the renewals hold.

    A renewal does not when its trial is not running, has a longer lease, or is being written by somebody else.
    """

    commits: list[bool]
    renewals: list[bool]


def write(database: Database, commits: Sequence[Commit], renewals: Sequence[Renewal]) -> Written:
    """Write what holds, durably, in one transaction.

    Raises:
        Exception: The driver's own; nothing was written then, or nobody knows.
    """
    run = _on_sqlite if database.is_sqlite else _on_postgresql
    with database.raw() as connection:
        return run(connection, commits, renewals)


def write_within(transaction: Connection, commits: Sequence[Commit]) -> None:
    """Write commits of jobs whose rows the transaction has locked and read, so that all of them hold.

    Raises:
        Exception: The driver's own.
    """
    driver: Any = transaction.connection.driver_connection
    if transaction.dialect.name == "sqlite":
        execute = driver.cursor().execute
        held = [_commit_on_sqlite(execute, commit) for commit in commits]
    else:
        held = _on_postgresql(driver, commits, []).commits
    assert all(held)


def _on_sqlite(connection: Any, commits: Sequence[Commit], renewals: Sequence[Renewal]) -> Written:
    execute = connection.cursor().execute
    execute("BEGIN IMMEDIATE")
    held = [_commit_on_sqlite(execute, commit) for commit in commits]
    renewed = []
    for renewal in renewals:
        parameters = _renewal(renewal, _sqlite_moment(renewal.lease_expires_at))
        renewed.append(execute(statements.sqlite_renewal(), parameters).rowcount == 1)
    execute("COMMIT")
    return Written(held, renewed)


def _commit_on_sqlite(execute: Callable[..., Any], commit: Commit) -> bool:
    parameters = _parameters(commit, _SQLITE_TRIAL, _SQLITE_OBSERVATION)
    job, *others = statements.sqlite_commit(commit.observation is None)
    if execute(job, parameters).rowcount == 0:
        return False
    for statement in others:
        execute(statement, parameters)
    for row in commit.states:
        execute(statements.sqlite_state(), dict(zip(statements.STATE, row, strict=True)))
    return True


def _on_postgresql(connection: Any, commits: Sequence[Commit], renewals: Sequence[Renewal]) -> Written:
    requests = []
    for commit in commits:
        parameters = _parameters(commit, _POSTGRESQL_TRIAL, _POSTGRESQL_OBSERVATION)
        for at, row in enumerate(commit.states):
            parameters.update(zip((f"{name}_{at}" for name in statements.STATE), row, strict=True))
        requests.append((statements.postgresql_commit(commit.observation is None, len(commit.states)), parameters))
    # Last: whoever waits for the row of a trial then holds none that a renewal took.
    for renewal in renewals:
        parameters = _renewal(renewal, renewal.lease_expires_at)
        requests.append((statements.postgresql_renewal(), parameters))
    if len(requests) == 1:
        cursors = [connection.execute(*requests[0], prepare=True)]
    else:
        with connection.pipeline():
            cursors = [connection.execute(*request, prepare=True) for request in requests]
    held = [cursor.fetchone()[0] == 1 for cursor in cursors]
    return Written(held[: len(commits)], held[len(commits) :])


def _renewal(renewal: Renewal, lease_expires_at: datetime | str | None) -> dict[str, Any]:
    return {
        "namespace": renewal.namespace,
        "trial_id": renewal.trial_id,
        "lease_expires_at": lease_expires_at,
    }


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def _sqlite_moment(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _fields(table: Any, columns: Sequence[str], prefix: str, **converts: _Convert) -> _Fields:
    return [(column, prefix + column, converts.get(type(table.c[column].type).__name__)) for column in columns]


_ON_SQLITE: dict[str, _Convert] = {JSON.__name__: _json, UtcDateTime.__name__: _sqlite_moment}
_ON_POSTGRESQL: dict[str, _Convert] = {JSON.__name__: _json}
_SQLITE_TRIAL = _fields(trials, statements.TRIAL, "trial_", **_ON_SQLITE)
_SQLITE_OBSERVATION = _fields(observations, statements.OBSERVATION, "observation_", **_ON_SQLITE)
_POSTGRESQL_TRIAL = _fields(trials, statements.TRIAL, "trial_", **_ON_POSTGRESQL)
_POSTGRESQL_OBSERVATION = _fields(observations, statements.OBSERVATION, "observation_", **_ON_POSTGRESQL)


def _parameters(commit: Commit, trial: _Fields, observation: _Fields) -> dict[str, Any]:
    job = commit.job
    values: dict[str, Any] = {
        "job_pk": job.job_pk,
        "version": commit.version,
        "next_version": job.version,
        "next_trial_number": job.next_trial_number,
        "next_sequence": job.next_sequence,
    }
    _add(values, commit.trial, trial)
    if commit.observation is not None:
        _add(values, commit.observation, observation)
    return values


def _add(values: dict[str, Any], record: TrialRecord | ObservationRecord, fields: _Fields) -> None:
    for column, name, convert in fields:
        value = getattr(record, column)
        values[name] = value if convert is None else convert(value)
