"""Bringing a database's schema to the version that this code works with."""

import shutil
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, inspect, select, table
from sqlalchemy.sql import column

import rheostat
from rheostat.errors import DatabaseUnavailable
from rheostat.storage.engine import Database

HEAD = "0004"
"""The revision that this version works with: known without Alembic, whose import would take a good part of a start."""

VERSION_TABLE = "rheostat_schema_version"
"""Our own name: a table `alembic_version` in a shared database belongs to somebody else."""


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """Where a schema stands.

    Attributes:
        current: Its revision; None when the database is empty.
        head: The revision that this version works with.
        known: Whether this version knows the current revision; if not, a newer version wrote it.
    """

    current: str | None
    head: str = HEAD
    known: bool = True

    @property
    def at_head(self) -> bool:
        """Whether this version can work with the schema."""
        return self.current == self.head


def migrations_path() -> Path:
    """Return the folder of the migrations: inside the installed package, or beside `app` in a checkout."""
    package = Path(rheostat.__file__).parent
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parents[1] / "migrations"


def schema_status(database: Database) -> SchemaStatus:
    """Return where the schema of a database stands.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    if database.is_sqlite and not database.sqlite_path.exists():
        return SchemaStatus(None)
    current = database.read(_current)
    return SchemaStatus(current, known=current in (None, HEAD) or current in _revisions())


def upgrade(database: Database) -> SchemaStatus:
    """Bring the schema to head and return where it stood before.

    Several processes may do so at once: one migrates, the others wait and find it done. An SQLite file that
    holds data is copied first, next to itself.

    Raises:
        DatabaseUnavailable: The database cannot be reached, or a newer version wrote its schema.
    """
    before = schema_status(database)
    if before.at_head:
        return before
    if not before.known:
        raise DatabaseUnavailable(
            f"The schema {before.current} was written by a newer version of Rheostat.",
            hint="Install that version, or restore a backup made before its upgrade.",
        )
    if database.is_sqlite and before.current is not None:
        _back_up(database.sqlite_path, before.current)
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))

    def migrate(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    database.alter(migrate)
    return before


def _revisions() -> set[str]:
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    return {script.revision for script in ScriptDirectory(str(migrations_path())).walk_revisions()}


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version = table(VERSION_TABLE, column("version_num"))
    return connection.execute(select(version.c.version_num)).scalar_one_or_none()


def _back_up(path: Path, revision: str) -> None:
    """Copy a live SQLite file, its write-ahead log included, to a name that tells what it is."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    backup = path.with_name(f"{path.name}.{revision}.{moment}.backup")
    source, target = sqlite3.connect(path), sqlite3.connect(backup)
    try:
        source.backup(target)
    finally:
        source.close()
        target.close()
    shutil.copymode(path, backup)
