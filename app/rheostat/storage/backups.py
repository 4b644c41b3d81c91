"""Backups of the whole database: with SQLite's backup API, or with PostgreSQL's client programs."""

import os
import shutil
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.engine import URL

from rheostat.errors import ConfigurationError, DatabaseUnavailable, InvalidInput
from rheostat.storage.engine import Database
from rheostat.storage.tables import VERSION_TABLE, metadata

_LOCK_TIMEOUT_SECONDS = 30


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
        raise DatabaseUnavailable(f"Cannot write the backup: {error}.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def restore(database: Database, path: Path) -> Path | None:
    """Replace the content of the database with a backup.

    Returns:
        A copy of the previous content; None if there was none, or in PostgreSQL.

    Raises:
        InvalidInput: The path is not a backup of this kind of database.
        ConfigurationError: PostgreSQL's client programs are not installed.
        DatabaseUnavailable: The database cannot be written.
    """
    _check_is_backup(database, path)
    if not database.is_sqlite:
        _run(database, "pg_restore", "--clean", "--if-exists", "--no-owner", "--single-transaction", str(path))
        return None
    target = database.sqlite_path
    kept = None
    try:
        if target.exists():
            moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            kept = target.with_name(f"{target.name}.before-restore.{moment}.backup")
            kept.touch(mode=0o600)
            copy_sqlite(target, kept)
        else:
            database.file.make_private()
        _copy(path, target)
    except (OSError, sqlite3.Error) as error:
        raise DatabaseUnavailable(f"Cannot restore the backup: {error}.") from error
    return kept


def copy_sqlite(source: Path, copy: Path) -> None:
    """Copy a database file that is in use, including its write-ahead log, to one file without such a log."""
    _copy(source, copy)
    connection = sqlite3.connect(copy)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()


def _copy(source: Path, target: Path) -> None:
    """Replace the content of a database file by that of another, and check it.

    In one step, from one read transaction: a copy in several starts over whenever another process writes in between,
    so that of a busy file would never end.
    """
    reader = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=_LOCK_TIMEOUT_SECONDS)
    writer = sqlite3.connect(target, timeout=_LOCK_TIMEOUT_SECONDS)
    try:
        reader.backup(writer)
        (verdict,) = writer.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {verdict}")
    finally:
        reader.close()
        writer.close()


def _check_is_backup(database: Database, path: Path) -> None:
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
