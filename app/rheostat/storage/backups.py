"""Backups of the whole database: with SQLite's backup API, or with PostgreSQL's client programs."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import URL

from rheostat.errors import ConfigurationError, DatabaseUnavailable, InvalidInput
from rheostat.storage.engine import Database
from rheostat.storage.sqlite_file import DAMAGED, in_use, is_damaged, require_unused
from rheostat.storage.tables import VERSION_TABLE, metadata

_LOCK_TIMEOUT_SECONDS = 30
_PAGES_A_STEP = 5000
"""Some 20 MB."""


def back_up(database: Database, path: Path) -> None:
    """Write a consistent backup of the database while it is in use.

    Raises:
        InvalidInput: The path exists.
        ConfigurationError: PostgreSQL's client programs are not installed.
        DatabaseUnavailable: The database cannot be read, or the backup cannot be written.
    """
    if path.exists():
        raise InvalidInput(f"{path} already exists.", hint="Choose another file name: backups are never overwritten.")
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.touch(mode=0o600)  # private from the start
        if database.is_sqlite:
            copy_sqlite(database.sqlite_path, unfinished)
        else:
            _run(database, "pg_dump", "--format=custom", "--file", str(unfinished), *_our_tables())
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.rename(path)
    except (OSError, sqlite3.Error) as error:
        raise DatabaseUnavailable("Cannot write the backup.") from error
    finally:
        for left in (unfinished, unfinished.with_name(f"{unfinished.name}-journal")):
            left.unlink(missing_ok=True)


def restore(database: Database, path: Path) -> Path | None:
    """Replace the content of the database with a backup.

    Returns:
        The previous content, in a file beside the database; None if there was none, or in PostgreSQL.

    Raises:
        InvalidInput: The path is not a backup of this kind of database.
        ConfigurationError: PostgreSQL's client programs are not installed, or another process uses the database.
        DatabaseUnavailable: The database cannot be written.
    """
    check_is_backup(database, path)
    if not database.is_sqlite:
        _require_unused_postgresql(database)
        _run(database, "pg_restore", "--clean", "--if-exists", "--no-owner", "--single-transaction", str(path))
        return None
    target = database.sqlite_path
    kept = None
    try:
        if target.exists():
            database.disconnect()
            require_unused(target)
            kept = _set_aside(target)
        database.file.make_private()
        _copy(path, target)
    except (OSError, sqlite3.Error) as error:
        raise DatabaseUnavailable("Cannot restore the backup.") from error
    return kept


def _set_aside(target: Path) -> Path:
    """Copy a database file, or move it where it is damaged, and return where it is now."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    kept = target.with_name(f"{target.name}.before-restore.{moment}.backup")
    kept.touch(mode=0o600)
    try:
        copy_sqlite(target, kept)
    except sqlite3.DatabaseError as error:
        if not is_damaged(error):
            kept.unlink()
            raise
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                target.with_name(target.name + suffix).replace(kept.with_name(kept.name + suffix))
    return kept


def _require_unused_postgresql(database: Database) -> None:
    others = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND application_name = current_setting('application_name')"
    )
    if database.read(lambda connection: connection.scalar(others)):
        raise in_use(str(database))


def copy_sqlite(source: Path, copy: Path) -> None:
    """Copy a database file that is in use, including its write-ahead log, to one file without such a log."""
    _copy(source, copy)
    connection = sqlite3.connect(copy)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()


def revision_of_copy(path: Path) -> str | None:
    """Return the revision of the schema in a copy; None: it is of another program.

    Raises:
        DatabaseUnavailable: The file is damaged.
    """
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        row = connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608
    except sqlite3.OperationalError:
        return None
    except sqlite3.DatabaseError as error:
        raise DatabaseUnavailable("The backup cannot be read.") from error
    finally:
        connection.close()
    return None if row is None else str(row[0])


def _copy(source: Path, target: Path) -> None:
    """Replace the content of a database file by that of another, and check it.

    All of it from one read transaction, that is open before the first step: else a copy starts over whenever another
    process writes in between, so that of a busy file would never end. Between steps it can be interrupted.
    """
    reader = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=_LOCK_TIMEOUT_SECONDS)
    writer = sqlite3.connect(target, timeout=_LOCK_TIMEOUT_SECONDS)
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        reader.backup(writer, pages=_PAGES_A_STEP, progress=_let_signals_in)
        (verdict,) = writer.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"{DAMAGED}: {verdict.splitlines()[-1]}")
    finally:
        reader.close()
        writer.close()


def _let_signals_in(*_: int) -> None:
    """Let Python see between two steps that Ctrl-C was pressed."""


def check_is_backup(database: Database, path: Path) -> None:
    """Check that a file may be a backup of this kind of database.

    Raises:
        InvalidInput: It is not, or it cannot be read.
    """
    kind, magic = ("SQLite", b"SQLite format 3\0") if database.is_sqlite else ("PostgreSQL", b"PGDMP")
    try:
        with path.open("rb") as file:
            begins = file.read(len(magic))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}.") from error
    if begins != magic:
        raise InvalidInput(f"{path} is not a backup of {kind}.", hint="Choose a file that `rheostat db backup` wrote.")


def _our_tables() -> list[str]:
    return [f"--table={name}" for name in (*metadata.tables, VERSION_TABLE)]


def _run(database: Database, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's client programs on a database.

    Raises:
        ConfigurationError: It is not installed.
        DatabaseUnavailable: It failed.
    """
    found = shutil.which(program)
    url = database.url
    plain = URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query)
    address = plain.render_as_string(hide_password=False)
    if found is None:
        raise ConfigurationError(
            f"{program} is not installed on this machine.",
            hint=f"Install PostgreSQL's client programs, or run on a machine that has them: "
            f"{program} --dbname '{address}' {' '.join(arguments)}",
        )
    environment = dict(os.environ)
    if url.password is not None:
        environment["PGPASSWORD"] = str(url.password)  # every user of the machine can see the arguments
    command = [found, "--dbname", address, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise DatabaseUnavailable(f"{program} failed: {done.stderr.strip() or done.returncode}.")
