"""The database: engines, transactions, and what its errors mean.

SQLite has one writer connection that begins IMMEDIATE (a transaction that reads and then writes cannot be
refused in the middle) and reader connections beside it (WAL). PostgreSQL has one pool; rows are locked by
``SELECT ... FOR UPDATE``. A transaction that loses a race or finds its connection dead is tried once more.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from rheostat.errors import (
    ConfigurationError,
    DatabaseBusy,
    DatabaseUnavailable,
    RheostatError,
    SchemaOutdated,
)
from rheostat.storage.watchdog import Watchdog

LOCK_TIMEOUT_SECONDS = 10
"""How long a transaction waits for a lock: longer than any transaction of ours takes, shorter than a client waits."""

NETWORK_FILE_SYSTEMS = frozenset(
    [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.sshfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    ]
)
"""File systems as /proc/mounts names them, on which SQLite's locks or its shared memory do not hold."""

_RACES = {"40001", "40P01", "23505"}  # serialization failure, deadlock, unique violation
_LOCK_NOT_AVAILABLE = "55P03"
_QUERY_CANCELED = "57014"
_NO_SUCH_TABLE_OR_COLUMN = {"42P01", "42703"}

Transaction: TypeAlias = Connection
"""What work is given: an open transaction, which the services pass on to the repositories."""

_Failure: TypeAlias = DBAPIError | PendingRollbackError | PoolTimeout
_FAILURES = (DBAPIError, PendingRollbackError, PoolTimeout)

T = TypeVar("T")


class Database:
    """Runs work in transactions, on SQLite or PostgreSQL.

    Args:
        url: An SQLAlchemy URL: ``sqlite:////path/to/file.db`` or ``postgresql://user@host/name``.
        password: Goes into a PostgreSQL URL.
        statement_timeout: How long a statement may take in PostgreSQL; None: any time.

    Raises:
        ConfigurationError: The URL is not one of these, or the file lies on a network file system.
    """

    def __init__(self, url: str, password: str | None = None, statement_timeout: timedelta | None = None) -> None:
        self.url = _parse(url)
        if password is not None and not self.is_sqlite:
            self.url = self.url.set(password=password)
        if self.is_sqlite:
            self._writer = _sqlite_engine(self.url, writer=True)
            self._reader = _sqlite_engine(self.url, writer=False)
            self._raw = self._writer
        else:
            self._writer = _postgresql_engine(self.url, statement_timeout)
            # What several statements read is of one moment.
            self._reader = self._writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            # Another pool: in the first one connections begin a transaction by themselves.
            self._raw = _postgresql_engine(self.url, statement_timeout, isolation_level="AUTOCOMMIT")
        self._watchdog: Watchdog | None = None
        if statement_timeout is not None and not self.is_sqlite:
            self._watchdog = Watchdog(statement_timeout.total_seconds() + LOCK_TIMEOUT_SECONDS)
            for engine in (self._writer, self._raw):
                self._watchdog.watch(engine)

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
        """Run work in one transaction and commit it; nothing of it stays when it raises.

        The work may run twice: after a lost race or on a connection that turned out dead.

        Raises:
            DatabaseBusy: A lock was not had in time, or a race was lost twice.
            DatabaseUnavailable: The database cannot be reached or written.
        """
        return self._run(self._writer, work)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run work that only reads, in one transaction.

        Raises:
            DatabaseBusy: No connection was free in time.
            DatabaseUnavailable: The database cannot be reached.
        """
        return self._run(self._reader, work)

    def alter(self, work: Callable[[Connection], T]) -> T:
        """Run work that changes tables, as :meth:`write` does, and for as long as it takes.

        SQLite changes many things about a table only by a copy of it. The end of the old one would take along, by
        foreign keys that cascade, whatever hangs on it, so they are off here, and checked when the work is done.

        Raises:
            DatabaseBusy: A lock was not had in time.
            DatabaseUnavailable: The database cannot be reached or written, or its rows do not fit together.
        """
        if self.is_sqlite:
            engine = _sqlite_engine(self.url, writer=True, foreign_keys=False)
        else:
            engine = _postgresql_engine(self.url, None)

        def checked(connection: Connection) -> T:
            result = work(connection)
            if self.is_sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                raise DatabaseUnavailable("Some rows of the database refer to others that are not there.")
            return result

        try:
            return self._run(engine, checked)
        finally:
            engine.dispose()

    @contextmanager
    def raw(self) -> Iterator[Any]:
        """Lend a connection of the driver's own, which begins no transaction by itself.

        For statements that were compiled before. After an error it is thrown away: it may be dead, or in the middle
        of a transaction.
        """
        connection = self._raw.raw_connection()
        try:
            yield connection.driver_connection
        except BaseException:
            connection.invalidate()
            raise
        finally:
            connection.close()

    def close(self) -> None:
        """Close all connections."""
        for engine in (self._writer, self._reader, self._raw):
            engine.dispose()
        if self._watchdog is not None:
            self._watchdog.close()

    def _run(self, engine: Engine, work: Callable[[Connection], T]) -> T:
        try:
            return _once(engine, work)
        except _FAILURES as error:
            if not _worth_another_try(error):
                raise _translated(error) from error
        try:
            return _once(engine, work)
        except _FAILURES as error:
            raise _translated(error) from error


def _once(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        result = work(connection)
        _require_unharmed(connection)
        return result


def _require_unharmed(connection: Connection) -> None:
    """Refuse to commit after a failure that the work has swallowed: PostgreSQL would roll back, and not say so."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "postgresql" and driver.info.transaction_status.name == "INERROR":
        raise PendingRollbackError("a statement has failed before")


def wait_for_locks(connection: Connection, seconds: float) -> None:
    """Let a transaction wait less for locks than others do; in SQLite it has the only one by now."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(seconds * 1000)}")


def _parse(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "The database URL cannot be read.",
            hint="Write sqlite:////path/to/rheostat.db or postgresql://user@host/name.",
        ) from error
    backend = url.get_backend_name()
    if backend == "sqlite":
        _check_sqlite_path(url)
        return url
    if backend in ("postgresql", "postgres"):
        password = url.query.get("password")
        if isinstance(password, str):  # as libpq takes it; in its own place it is never shown
            url = url.difference_update_query(["password"]).set(password=password)
        return url.set(drivername="postgresql+psycopg")
    raise ConfigurationError(
        f"The database {backend!r} is not supported.", hint="Use SQLite or PostgreSQL 13 or later."
    )


def _check_sqlite_path(url: URL) -> None:
    if not url.database or url.database == ":memory:" or url.query:
        raise ConfigurationError(
            "The SQLite URL must name a file and nothing else: state in memory would not outlive the process.",
            hint="Write sqlite:////path/to/rheostat.db.",
        )
    file_system = _file_system_of(Path(url.database).absolute())
    if file_system in NETWORK_FILE_SYSTEMS:
        raise ConfigurationError(
            f"{url.database} lies on a network file system ({file_system}), where SQLite's locks do not hold.",
            hint="Use a local disk, or PostgreSQL.",
        )


def _file_system_of(path: Path) -> str | None:
    """Return the type of the file system that a path is on, or None where /proc does not tell."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    best, kind = -1, None
    for line in mounts.splitlines():
        _, mount_point, file_system, *_ = line.split(" ")
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mount_point))
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), file_system
    return kind


def _sqlite_engine(url: URL, *, writer: bool, foreign_keys: bool = True) -> Engine:
    engine = create_engine(
        url,
        pool_size=1 if writer else 8,
        max_overflow=0 if writer else 32,
        pool_timeout=LOCK_TIMEOUT_SECONDS,
        hide_parameters=True,  # what callers sent has no place in the log
        connect_args={"timeout": LOCK_TIMEOUT_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # or the driver would begin by itself, and DEFERRED
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        if writer:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # an acknowledged write survives a power cut
        else:
            connection.execute("PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    return engine


def _postgresql_engine(url: URL, statement_timeout: timedelta | None, **options: Any) -> Engine:
    milliseconds = 0 if statement_timeout is None else max(1, int(statement_timeout.total_seconds() * 1000))
    return create_engine(
        url,
        **options,
        pool_size=8,
        max_overflow=32,
        pool_timeout=LOCK_TIMEOUT_SECONDS,
        hide_parameters=True,  # what callers sent has no place in the log
        connect_args={
            "connect_timeout": 5,
            # Whoever is gone without a word is noticed within a quarter of a minute.
            "keepalives_idle": 10,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
            "options": f"-c lock_timeout={LOCK_TIMEOUT_SECONDS}s -c statement_timeout={milliseconds} -c timezone=UTC",
        },
    )


def _sqlstate(error: _Failure) -> str | None:
    return getattr(_origin(error), "sqlstate", None)


def _origin(error: _Failure) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else None


def _worth_another_try(error: _Failure) -> bool:
    if not isinstance(error, DBAPIError):
        return isinstance(error, PendingRollbackError)
    return isinstance(error, IntegrityError) or error.connection_invalidated or _sqlstate(error) in _RACES


def _translated(error: _Failure) -> RheostatError:
    """Return the error in our words; the driver's own stays its cause and out of answers, for it quotes SQL."""
    if isinstance(error, PoolTimeout):
        return DatabaseBusy("All connections to the database are taken.", hint="Try again.")
    if isinstance(error, IntegrityError) or _sqlstate(error) in _RACES:
        return DatabaseBusy("Another request changed the same rows at the same time, twice.", hint="Try again.")
    if _sqlstate(error) == _QUERY_CANCELED:
        return DatabaseBusy("The database took too long over a statement.", hint="Try again.")
    if _sqlstate(error) == _LOCK_NOT_AVAILABLE or "database is locked" in str(_origin(error)):
        return DatabaseBusy("Another request holds the lock for too long.", hint="Try again.")
    if _sqlstate(error) in _NO_SUCH_TABLE_OR_COLUMN or "no such" in str(_origin(error)):
        return SchemaOutdated(
            "The database's schema is not the one that this version works with.",
            hint="Run `rheostat db upgrade`.",
        )
    return DatabaseUnavailable(
        "The database cannot be reached, or cannot be written.",
        hint="Try again; if it lasts, see /readyz and the server's log.",
    )
