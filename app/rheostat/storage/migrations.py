"""Migrates a database's schema to the revision that this version needs."""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, inspect, select, table
from sqlalchemy.sql import column

import rheostat
from rheostat.errors import ConfigurationError, DatabaseUnavailable
from rheostat.storage.backups import check_is_backup, copy_sqlite, revision_of_copy
from rheostat.storage.engine import Database
from rheostat.storage.tables import VERSION_TABLE

HEAD = "0008"
"""The revision that this version needs; it is here because importing Alembic would slow down every start."""


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """The status of a schema.

    Attributes:
        current: Its revision; None if the database is empty.
        head: The revision that this version needs.
        known: Whether this version knows the current revision; if not, it is of a newer version.
    """

    current: str | None
    head: str = HEAD
    known: bool = True

    @property
    def at_head(self) -> bool:
        """Whether the schema is the one that this version needs."""
        return self.current == self.head


def migrations_path() -> Path:
    """Return the directory of the migrations: in the installed package, or next to `app` in a checkout."""
    package = Path(rheostat.__file__).parent
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parents[1] / "migrations"


def schema_status(database: Database) -> SchemaStatus:
    """Return the status of a database's schema.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    if database.is_sqlite and not database.sqlite_path.exists():
        return SchemaStatus(None)
    current = database.read(_current)
    return SchemaStatus(current, known=current is None or _is_known(current))


def upgrade(database: Database) -> SchemaStatus:
    """Migrate the schema to head, and return its status before.

    Several processes may do so at once: one migrates while the others wait. An SQLite file that is not empty is first
    copied to a backup next to it.

    Raises:
        ConfigurationError: The file is an SQLite database of another program.
        DatabaseUnavailable: The database cannot be reached, or its schema is of a newer version.
    """
    before = schema_status(database)
    if before.at_head:
        return before
    if not before.known:
        raise _newer(before.current)
    if database.is_sqlite and before.current is not None:
        _back_up(database.sqlite_path, before.current)
    elif database.is_sqlite and database.sqlite_path.exists() and database.read(lambda c: inspect(c).get_table_names()):
        raise _of_another_program(database.sqlite_path)
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(migrations_path()).replace("%", "%%"))

    def migrate(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    database.alter(migrate)
    return before


def check_backup(database: Database, path: Path) -> None:
    """Check before anything is replaced that a backup can be upgraded to this version's schema.

    (That of PostgreSQL is only known once it is restored.)

    Raises:
        InvalidInput: The path is not a backup of this kind of database.
        ConfigurationError: It is of another program.
        DatabaseUnavailable: It is of a newer version.
    """
    check_is_backup(database, path)
    if not database.is_sqlite:
        return
    revision = revision_of_copy(path)
    if revision is None:
        raise _of_another_program(path)
    if not _is_known(revision):
        raise _newer(revision)


def _newer(revision: str | None) -> DatabaseUnavailable:
    return DatabaseUnavailable(
        f"The schema {revision} was written by a newer version of Rheostat.",
        hint="Install that version, or restore a backup made before its upgrade.",
    )


def _of_another_program(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is the database of another program.", hint="Name another file, such as in RHEOSTAT_DATABASE_URL."
    )


def _is_known(revision: str) -> bool:
    return revision == HEAD or revision in _revisions()


def _revisions() -> set[str]:
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    return {script.revision for script in ScriptDirectory(str(migrations_path())).walk_revisions()}


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version = table(VERSION_TABLE, column("version_num"))
    return connection.execute(select(version.c.version_num)).scalar_one_or_none()


def _back_up(path: Path, revision: str) -> None:
    """Copy a database file to a backup whose name includes the schema's revision."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    backup = path.with_name(f"{path.name}.{revision}.{moment}.backup")
    copy_sqlite(path, backup)
    shutil.copymode(path, backup)
