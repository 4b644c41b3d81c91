"""The statements of the hot path, compiled to text once: what SQLAlchemy would do anew at every request.

Parameters are named after their columns: ``trial_state``, ``observation_epoch``, ``placement_pk_0``.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Dialect,
    Double,
    Executable,
    Table,
    bindparam,
    cast,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg

from rheostat.storage.tables import jobs, observations, policy_states, trials
from rheostat.storage.trials import CHANGING

TRIAL = tuple(column.name for column in trials.c)
OBSERVATION = tuple(column.name for column in observations.c if column.name != "observation_pk")
STATE = ("placement_pk", "part", "state")

_KEY = ("placement_pk", "part")
_POSTGRESQL = psycopg.PGDialect_psycopg()  # type: ignore[no-untyped-call]
_SQLITE = sqlite.dialect(paramstyle="named")


@cache
def sqlite_commit(is_new: bool) -> tuple[str, ...]:
    """Return the statements of a commit but for the policy's states; the first tells whether it holds."""
    job = update(jobs).where(jobs.c.job_pk == _bind(jobs, "job_pk"), jobs.c.version == _bind(jobs, "version"))
    statements: list[Executable] = [job.values(_counters())]
    if is_new:
        statements.append(insert(trials).values(_binds(trials, TRIAL, "trial_")))
    else:
        changed = update(trials).where(trials.c.trial_id == _bind(trials, "trial_id", "trial_trial_id"))
        statements.append(changed.values(_changed_trial(func.max)))
        statements.append(insert(observations).values(_binds(observations, OBSERVATION, "observation_")))
    return tuple(_text(statement, _SQLITE) for statement in statements)


@cache
def sqlite_state() -> str:
    """Return the statement that stores one part of a policy's state."""
    new = sqlite.insert(policy_states).values(_binds(policy_states, STATE, ""))
    return _text(new.on_conflict_do_update(index_elements=_KEY, set_={"state": new.excluded.state}), _SQLITE)


@cache
def sqlite_renewal() -> str:
    """Return the statement that renews the lease of a running trial."""
    lease = _bind(trials, "lease_expires_at")
    return _text(update(trials).where(*_renewable()).values(lease_expires_at=lease), _SQLITE)


@cache
def postgresql_commit(is_new: bool, states: int) -> str:
    """Return the one statement of a commit; it answers 1 when it holds, else 0."""
    wanted = select(jobs.c.job_pk).where(
        jobs.c.job_pk == _bind(jobs, "job_pk"), jobs.c.version == _bind(jobs, "version")
    )
    held = wanted.with_for_update(skip_locked=True).cte("held")
    parts = [update(jobs).where(jobs.c.job_pk == held.c.job_pk).values(_counters()).cte("job")]
    if is_new:
        parts.append(insert(trials).from_select(TRIAL, _row(trials, TRIAL, "trial_", held)).cte("trial"))
    else:
        changed = update(trials).where(
            trials.c.trial_id == _bind(trials, "trial_id", "trial_trial_id"), trials.c.job_pk == held.c.job_pk
        )
        parts.append(changed.values(_changed_trial(func.greatest)).cte("trial"))
        report = _row(observations, OBSERVATION, "observation_", held)
        parts.append(insert(observations).from_select(OBSERVATION, report).cte("observation"))
    for at in range(states):
        row = _row(policy_states, STATE, "", held, f"_{at}")
        new = postgresql.insert(policy_states).from_select(STATE, row)
        stored = new.on_conflict_do_update(index_elements=_KEY, set_={"state": new.excluded.state})
        parts.append(stored.cte(f"state_{at}"))
    return _text(select(func.count()).select_from(held).add_cte(*parts), _POSTGRESQL)


@cache
def postgresql_renewal() -> str:
    """Return the statement that renews the lease of a running trial; it answers 1 when it holds, else 0."""
    held = select(trials.c.trial_id).where(*_renewable()).with_for_update(skip_locked=True).cte("held")
    lease = _bind(trials, "lease_expires_at")
    renewed = update(trials).where(trials.c.trial_id == held.c.trial_id).values(lease_expires_at=lease)
    return _text(select(func.count()).select_from(held).add_cte(renewed.cte("renewed")), _POSTGRESQL)


def _bind(table: Table, column: str, name: str | None = None) -> ColumnElement[Any]:
    return bindparam(name or column, type_=table.c[column].type)


def _binds(table: Table, columns: Sequence[str], prefix: str) -> dict[str, ColumnElement[Any]]:
    return {column: _bind(table, column, prefix + column) for column in columns}


def _row(table: Table, columns: Sequence[str], prefix: str, held: CTE, suffix: str = "") -> Any:
    """Select the parameters as a row where the job is held."""
    binds = {column: _bind(table, column, prefix + column + suffix) for column in columns}
    # A null that should be a number has no type of its own.
    typed = [cast(bind, bind.type) if isinstance(bind.type, Double) else bind for bind in binds.values()]
    return select(*(bind.label(column) for column, bind in zip(columns, typed, strict=True))).select_from(held)


def _counters() -> dict[str, ColumnElement[Any]]:
    counters = {name: _bind(jobs, name) for name in ("next_trial_number", "next_sequence")}
    return {"version": _bind(jobs, "version", "next_version"), **counters}


def _changed_trial(greatest: Any) -> dict[str, ColumnElement[Any]]:
    """Return what a report changes; it never shortens a lease that a sign of life has made longer meanwhile."""
    values = _binds(trials, [name for name in CHANGING if name != "lease_expires_at"], "trial_")
    lease = _bind(trials, "lease_expires_at", "trial_lease_expires_at")
    return {**values, "lease_expires_at": greatest(trials.c.lease_expires_at, lease)}


def _renewable() -> tuple[ColumnElement[bool], ...]:
    return (
        trials.c.trial_id == _bind(trials, "trial_id"),
        trials.c.state == literal_column("'running'"),
        trials.c.lease_expires_at <= _bind(trials, "lease_expires_at"),
        trials.c.job_pk.in_(select(jobs.c.job_pk).where(jobs.c.namespace == _bind(jobs, "namespace"))),
    )


def _text(statement: Executable, dialect: Dialect) -> str:
    return str(statement.compile(dialect=dialect))  # type: ignore[attr-defined]
