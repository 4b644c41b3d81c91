"""Copies of the whole database: of a file by SQLite's own means, of PostgreSQL by its programs."""

import os
import shutil
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.engine import URL

from rheostat.errors import ConfigurationError, DatabaseUnavailable, InvalidInput
from rheostat.storage.engine import Database
from rheostat.storage.migrations import VERSION_TABLE
from rheostat.storage.tables import metadata

_PAGES_A_STEP = 1000
_LOCK_TIMEOUT_SECONDS = 30


def back_up(database: Database, path: Path) -> None:
    """Write a copy of the database, as of one moment, while it is in use.

    Raises:
        InvalidInput: There is something at that path already.
        ConfigurationError: PostgreSQL's programs are not installed.
        DatabaseUnavailable: The database cannot be read, or the copy cannot be written.
    """
    if path.exists():
        raise InvalidInput(f"{path} is there already.", hint="Name another file: no backup is written over.")
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        unfinished.touch(mode=0o600)  # before there is anything in it
        if database.is_sqlite:
            _copy_sqlite(database.sqlite_path, unfinished)
        else:
            _run(database, "pg_dump", "--format=custom", "--file", str(unfinished), *_our_tables())
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.rename(path)
    except (OSError, sqlite3.Error) as error:
        raise DatabaseUnavailable(f"The backup was not made: {error}.") from error
    finally:
        unfinished.unlink(missing_ok=True)


def restore(database: Database, path: Path) -> Path | None:
    """Put a copy in the place of all that is in the database.

    Returns:
        Where the content that was there before is now; None where there was none, or in PostgreSQL.

    Raises:
        InvalidInput: There is no backup at that path, or none of this kind of database.
        ConfigurationError: PostgreSQL's programs are not installed.
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
            _copy_sqlite(target, kept)
        _copy_sqlite(path, target)
    except (OSError, sqlite3.Error) as error:
        raise DatabaseUnavailable(f"The backup was not restored: {error}.") from error
    return kept


def _copy_sqlite(source: Path, target: Path) -> None:
    """Copy a live file, its write-ahead log included, and check the copy."""
    reader = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=_LOCK_TIMEOUT_SECONDS)
    writer = sqlite3.connect(target, timeout=_LOCK_TIMEOUT_SECONDS)
    try:
        reader.backup(writer, pages=_PAGES_A_STEP)
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
        raise InvalidInput(f"{path} is no backup of {kind}.", hint="Name a file that `rheostat db backup` wrote.")


def _our_tables() -> list[str]:
    return [f"--table={name}" for name in (*metadata.tables, VERSION_TABLE)]


def _run(database: Database, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs on a database.

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
            f"{program} is not installed here.",
            hint=f"Install PostgreSQL's client programs, or run where they are: "
            f"{program} --dbname '{address}' {' '.join(arguments)}",
        )
    environment = dict(os.environ)
    if url.password is not None:
        environment["PGPASSWORD"] = str(url.password)  # arguments are seen by everybody on the machine
    command = [found, "--dbname", address, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise DatabaseUnavailable(f"{program} failed: {done.stderr.strip() or done.returncode}.")
