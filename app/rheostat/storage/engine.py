"""The database: engines and transactions.

On SQLite, writes begin with ``BEGIN IMMEDIATE``, so that a transaction that reads and then writes cannot fail halfway;
reads have connections of their own (WAL). PostgreSQL has one pool; rows are locked with ``SELECT ... FOR UPDATE``. A
transaction that loses a race, or whose connection is lost, is run once more.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, PendingRollbackError

from rheostat.errors import ConfigurationError, DatabaseUnavailable
from rheostat.storage.failures import FAILURES, read_only, translated, worth_another_try
from rheostat.storage.sqlite_file import SqliteFile, check_path, use_write_ahead_log
from rheostat.storage.watchdog import Watchdog

LOCK_TIMEOUT_SECONDS = 10
"""How long a transaction waits for a lock: longer than a transaction takes, shorter than a client's timeout."""

_CLOCK = "SELECT clock_timestamp()"
_IS_READ_ONLY = "SELECT current_setting('default_transaction_read_only')::boolean OR pg_is_in_recovery()"

T = TypeVar("T")


class Database:
    """Runs work in transactions, on SQLite or PostgreSQL.

    Args:
        url: An SQLAlchemy URL: ``sqlite:////path/to/file.db`` or ``postgresql://user@host/name``.
        password: The password for PostgreSQL, if it is not in the URL.
        statement_timeout: How long PostgreSQL lets a statement run; None: without limit.

    Raises:
        ConfigurationError: The URL is invalid, or the file is on a network file system.
    """

    def __init__(self, url: str, password: str | None = None, statement_timeout: timedelta | None = None) -> None:
        self.url = _parse(url)
        if password is not None and not self.is_sqlite:
            self.url = self.url.set(password=password)
        if self.is_sqlite:
            self.file = SqliteFile(self.sqlite_path)
            self._writer = self._sqlite_engine(writer=True)
            self._reader = self._sqlite_engine(writer=False)
        else:
            self._writer = _postgresql_engine(self.url, statement_timeout)
            # All statements of a transaction read the same snapshot.
            self._reader = self._writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._statement_timeout = statement_timeout
        self._watchdog: Watchdog | None = None
        if statement_timeout is not None and not self.is_sqlite:
            self._watchdog = Watchdog(statement_timeout.total_seconds() + LOCK_TIMEOUT_SECONDS)
            self._watchdog.watch(self._writer)

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded database."""
        return self.url.get_backend_name() == "sqlite"

    @property
    def sqlite_path(self) -> Path:
        """The file of the embedded database."""
        assert self.url.database is not None
        return Path(self.url.database)

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run work in one transaction and commit it; an exception rolls it back.

        The work runs twice if the transaction loses a race or its connection is lost.

        Raises:
            DatabaseBusy: Timed out waiting for a lock, or lost a race twice.
            DatabaseUnavailable: The database cannot be reached or written.
        """
        return _run(self._writer.begin, work)

    def session(self) -> "Session":
        """Return a session, for a thread that writes continually.

        Its connection is not from the pool: on SQLite the pool has only one writer, and on PostgreSQL the watchdog
        closes connections that are checked out for too long.
        """
        if self.is_sqlite:
            return Session(self._sqlite_engine(writer=True), None)
        return Session(_postgresql_engine(self.url, self._statement_timeout), self._watchdog)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run work that only reads, in one transaction.

        Raises:
            DatabaseBusy: Timed out waiting for a free connection.
            DatabaseUnavailable: The database cannot be reached.
        """
        return _run(self._reader.begin, work)

    def alter(self, work: Callable[[Connection], T]) -> T:
        """Run work that changes tables, as :meth:`write` does but without a statement timeout.

        Many changes of a table in SQLite copy it and drop the original, which would delete all rows that refer to it by
        a cascading foreign key. Foreign keys are therefore off during the work, and checked before the commit.

        Raises:
            DatabaseBusy: Timed out waiting for a lock.
            DatabaseUnavailable: The database cannot be reached or written, or violates a foreign key.
        """
        if self.is_sqlite:
            engine = self._sqlite_engine(writer=True, foreign_keys=False)
        else:
            engine = _postgresql_engine(self.url, None)

        def checked(connection: Connection) -> T:
            result = work(connection)
            if self.is_sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                raise DatabaseUnavailable("The database violates foreign keys: some rows refer to missing rows.")
            return result

        try:
            return _run(engine.begin, checked)
        finally:
            engine.dispose()

    def require_writable(self) -> None:
        """Check that nothing that can be seen without writing forbids to write.

        Raises:
            DatabaseUnavailable: The disk is full, PostgreSQL is read-only, or the database cannot be reached.
        """
        if self.is_sqlite:
            self.file.require_space()
        elif self.read(lambda connection: connection.scalar(text(_IS_READ_ONLY))):
            raise read_only()

    def time(self) -> datetime:
        """Return the time by PostgreSQL's clock.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        moment: datetime = self.read(lambda connection: connection.execute(text(_CLOCK)).scalar_one())
        return moment

    def disconnect(self) -> None:
        """Close all connections; the next transaction opens new ones."""
        for engine in (self._writer, self._reader):
            engine.dispose()
        if self.is_sqlite:
            self.file.forget()

    def close(self) -> None:
        """Close all connections, for good."""
        self.disconnect()
        if self._watchdog is not None:
            self._watchdog.close()

    def _sqlite_engine(self, *, writer: bool, foreign_keys: bool = True) -> Engine:
        return _sqlite_engine(self.url, self.file, writer=writer, foreign_keys=foreign_keys)


class Session:
    """Runs transactions on one connection, since taking one from the pool costs more than beginning a transaction.

    Args:
        engine: The engine to connect with; the session disposes of it.
        watchdog: Closes the connection if the database does not answer; None: nothing does.
    """

    def __init__(self, engine: Engine, watchdog: Watchdog | None) -> None:
        self._engine = engine
        self._watchdog = watchdog
        self._connection: Connection | None = None

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run work in one transaction and commit it, as :meth:`Database.write` does.

        Raises:
            DatabaseBusy: Timed out waiting for a lock, or lost a race twice.
            DatabaseUnavailable: The database cannot be reached or written.
        """
        return _run(self._begin, work)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._engine.dispose()

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        if self._connection is None:
            self._connection = self._engine.connect()
        watched = nullcontext() if self._watchdog is None else self._watchdog.watching(self._connection)
        try:
            with watched, self._connection.begin():
                yield self._connection
        except BaseException:
            self._connection.close()
            self._connection = None
            raise


def _run(begin: Callable[[], AbstractContextManager[Connection]], work: Callable[[Connection], T]) -> T:
    try:
        return _once(begin, work)
    except FAILURES as error:
        if not worth_another_try(error):
            raise translated(error) from error
    try:
        return _once(begin, work)
    except FAILURES as error:
        raise translated(error) from error


def _once(begin: Callable[[], AbstractContextManager[Connection]], work: Callable[[Connection], T]) -> T:
    with begin() as connection:
        result = work(connection)
        _require_unharmed(connection)
        return result


def _require_unharmed(connection: Connection) -> None:
    """Refuse to commit after an error that the work has caught: PostgreSQL would silently roll back."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "postgresql" and driver.info.transaction_status.name == "INERROR":
        raise PendingRollbackError("an earlier statement failed")


def sqlalchemy_error(connection: Connection, error: Exception) -> Exception:
    """Return the error that SQLAlchemy would raise for a driver's error; invalidate the connection if it is lost."""
    dialect = connection.dialect
    lost = dialect.is_disconnect(error, connection.connection.dbapi_connection, None)  # type: ignore[arg-type]
    if lost:
        connection.invalidate(error)
    wrapped = DBAPIError.instance(
        None, None, error, dialect.loaded_dbapi.Error, True, connection_invalidated=lost, dialect=dialect
    )
    assert isinstance(wrapped, Exception)
    return wrapped


def _parse(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "The database URL is malformed.",
            hint="Write sqlite:////path/to/rheostat.db or postgresql://user@host/name.",
        ) from error
    backend = url.get_backend_name()
    if backend == "sqlite":
        check_path(url)
        return url
    if backend in ("postgresql", "postgres"):
        password = url.query.get("password")
        if isinstance(password, str):  # libpq accepts it here, SQLAlchemy would show it
            url = url.difference_update_query(["password"]).set(password=password)
        return url.set(drivername="postgresql+psycopg")
    raise ConfigurationError(
        f"The database {backend!r} is not supported.", hint="Use SQLite or PostgreSQL 13 or later."
    )


def _sqlite_engine(url: URL, file: SqliteFile, *, writer: bool, foreign_keys: bool) -> Engine:
    engine = create_engine(
        url,
        pool_size=1 if writer else 8,
        max_overflow=0 if writer else 32,
        pool_timeout=LOCK_TIMEOUT_SECONDS,
        hide_parameters=True,  # the content of requests does not belong in logs
        connect_args={"timeout": LOCK_TIMEOUT_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "do_connect")
    def _check(*_: Any) -> None:
        file.check()  # connecting would make an empty file where there is none any more

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        file.note_opened()
        connection.isolation_level = None  # otherwise the driver begins transactions itself, as DEFERRED
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        if writer:
            use_write_ahead_log(connection, LOCK_TIMEOUT_SECONDS)
            connection.execute("PRAGMA synchronous = FULL")  # an acknowledged write survives a power cut
        else:
            connection.execute("PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        file.check()
        driver: Any = connection.connection.driver_connection
        try:
            driver.execute("BEGIN IMMEDIATE" if writer else "BEGIN")
        except sqlite3.Error as error:
            raise sqlalchemy_error(connection, error) from error

    return engine


def _postgresql_engine(url: URL, statement_timeout: timedelta | None) -> Engine:
    milliseconds = 0 if statement_timeout is None else max(1, int(statement_timeout.total_seconds() * 1000))
    engine = create_engine(
        url,
        pool_size=8,
        max_overflow=32,
        pool_timeout=LOCK_TIMEOUT_SECONDS,
        hide_parameters=True,  # the content of requests does not belong in logs
        connect_args={
            "connect_timeout": 5,
            "fallback_application_name": "rheostat",
            # A lost peer is detected within 16 seconds.
            "keepalives_idle": 10,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
            "options": f"-c lock_timeout={LOCK_TIMEOUT_SECONDS}s -c statement_timeout={milliseconds} -c timezone=UTC",
        },
    )

    @event.listens_for(engine, "checkin")
    def _forget_access_mode(connection: Any, _: Any) -> None:
        # SQLAlchemy leaves READ WRITE behind after a read, which overrules an operator who made the database read-only.
        if connection is not None:
            connection.read_only = None

    return engine
