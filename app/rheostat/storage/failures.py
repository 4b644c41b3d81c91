"""Translates the errors of a database and its driver into ours, which say what to do.

The driver's message quotes SQL and names hosts: it stays in the cause, for logs and the command line, and out of
answers.
"""

import re
from typing import TypeAlias

from sqlalchemy.exc import DBAPIError, IntegrityError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from rheostat.errors import DatabaseBusy, DatabaseUnavailable, RheostatError, SchemaOutdated
from rheostat.storage.sqlite_file import is_damaged

Failure: TypeAlias = DBAPIError | PendingRollbackError | PoolTimeout
FAILURES = (DBAPIError, PendingRollbackError, PoolTimeout)

_RACES = {"40001", "40P01", "23505"}  # serialization failure, deadlock, unique violation
_LOCK_NOT_AVAILABLE = "55P03"
_QUERY_CANCELED = "57014"
_READ_ONLY = "25006"
_NO_SUCH_TABLE_OR_COLUMN = {"42P01", "42703"}

# What the drivers say, and what to do. A failed connection has no SQLSTATE: libpq has the server's text alone.
_REMEDIES = (
    (
        re.compile("password authentication failed|no password supplied"),
        "PostgreSQL refuses the user or the password: check RHEOSTAT_DATABASE_URL and RHEOSTAT_DATABASE_PASSWORD.",
    ),
    (
        re.compile('role ".*" does not exist'),
        "PostgreSQL does not know the user: check RHEOSTAT_DATABASE_URL, or create the user with createuser.",
    ),
    (
        re.compile('database ".*" does not exist'),
        "PostgreSQL does not have the database: check RHEOSTAT_DATABASE_URL, or create the database with createdb.",
    ),
    (
        re.compile("Connection refused|failed to resolve host|timeout|No such file or directory"),
        "Does PostgreSQL run, and does RHEOSTAT_DATABASE_URL have its host and port?",
    ),
    (
        re.compile("readonly database|unable to open database file"),
        "The server's user must be able to write the database file and its directory.",
    ),
)
_UNKNOWN_CAUSE = "Try again; if the error persists, check /readyz and the server's log."


def worth_another_try(error: Failure) -> bool:
    """Return whether the transaction that failed may succeed if it is run once more."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, PendingRollbackError)
    return isinstance(error, IntegrityError) or error.connection_invalidated or _sqlstate(error) in _RACES


def translated(error: Failure) -> RheostatError:
    """Return our error for one of the database's."""
    busy = _why_busy(error)
    if busy is not None:
        return DatabaseBusy(busy, hint="Try again.")
    if _sqlstate(error) == _READ_ONLY:
        return read_only()
    if _sqlstate(error) in _NO_SUCH_TABLE_OR_COLUMN or "no such" in str(_origin(error)):
        return SchemaOutdated(
            "The database's schema is not the one that this version needs.",
            hint="Run `rheostat db upgrade`.",
        )
    if is_damaged(_origin(error)):
        return DatabaseUnavailable(
            "The database file is damaged.", hint="Stop the server and restore a backup: rheostat db restore FILE."
        )
    return DatabaseUnavailable("The database cannot be reached or written.", hint=_remedy(str(_origin(error))))


def read_only() -> DatabaseUnavailable:
    """Return the error for a PostgreSQL that takes no writes."""
    return DatabaseUnavailable(
        "The database is read-only: default_transaction_read_only is on, or it is a standby.",
        hint="Turn it off again, or give the address of the primary.",
    )


def _remedy(said: str) -> str:
    return next((remedy for sign, remedy in _REMEDIES if sign.search(said)), _UNKNOWN_CAUSE)


def _why_busy(error: Failure) -> str | None:
    if isinstance(error, PoolTimeout):
        return "Timed out waiting for a free connection to the database."
    if isinstance(error, IntegrityError) or _sqlstate(error) in _RACES:
        return "Another request changed the same rows at the same time, twice."
    if _sqlstate(error) == _QUERY_CANCELED:
        return "A database statement exceeded its time limit."
    if _sqlstate(error) == _LOCK_NOT_AVAILABLE or "database is locked" in str(_origin(error)):
        return "Timed out waiting for a database lock."
    return None


def _sqlstate(error: Failure) -> str | None:
    return getattr(_origin(error), "sqlstate", None)


def _origin(error: Failure) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else None
