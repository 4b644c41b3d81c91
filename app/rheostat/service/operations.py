"""Opening, checking and closing the service."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from platformdirs import user_state_path

from rheostat.errors import ConfigurationError, SchemaOutdated
from rheostat.service.context import Service
from rheostat.storage import backups, migrations
from rheostat.storage.audit import Audit
from rheostat.storage.engine import Database, Transaction
from rheostat.storage.jobs import Jobs
from rheostat.storage.migrations import SchemaStatus
from rheostat.storage.retention import prune_reports
from rheostat.storage.trials import Trials


def default_database_url() -> str:
    """Return the URL of the embedded database in the user's state directory."""
    return f"sqlite:///{user_state_path('rheostat', appauthor=False) / 'rheostat.db'}"


def open_service(
    database_url: str | None,
    lease: timedelta,
    *,
    upgrade: bool = True,
    password: str | None = None,
    statement_timeout: timedelta | None = None,
) -> Service:
    """Open the database; the embedded one is made, and brought to this version, where needed.

    A PostgreSQL that cannot be reached yet is no error here: every request says so until it can.

    Args:
        database_url: An SQLAlchemy URL; None: the embedded database in the user's state directory.
        lease: How long a trial may be silent.
        upgrade: Whether to bring the embedded database to this version.
        password: The database user's, where the URL has none.
        statement_timeout: How long a statement may take in PostgreSQL; None: any time.

    Raises:
        ConfigurationError: The URL cannot be used.
        DatabaseUnavailable: The embedded database cannot be opened or upgraded.
    """
    database = Database(database_url or default_database_url(), password, statement_timeout)
    if database.is_sqlite:
        try:
            database.sqlite_path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"The folder of the database cannot be made: {error}.",
                hint="Set RHEOSTAT_DATABASE_URL to a path that can be written.",
            ) from error
        if upgrade:
            migrations.upgrade(database)
    return Service(database, lease)


def upgrade_schema(service: Service) -> SchemaStatus:
    """Bring the schema to this version and return where it stood before.

    Raises:
        DatabaseUnavailable: The database cannot be reached, or a newer version wrote its schema.
    """
    return migrations.upgrade(service.database)


def schema_status(service: Service) -> SchemaStatus:
    """Return where the schema stands.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    return migrations.schema_status(service.database)


def check_ready(service: Service) -> None:
    """Check that requests can be answered.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
        SchemaOutdated: Its schema is of another version; the hint says what to do.
    """
    status = schema_status(service)
    if status.at_head:
        return
    if status.known:
        hint = "Run `rheostat db upgrade`."
    else:
        hint = "A newer version of Rheostat wrote it: install that version here, too."
    raise SchemaOutdated(
        f"The database's schema is {status.current or 'empty'}, this version works with {status.head}.", hint=hint
    )


@dataclass(frozen=True, slots=True)
class Census:
    """What there is, in all namespaces."""

    jobs: int
    running_trials: int


def census(service: Service) -> Census:
    """Count the jobs and the running trials.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """

    def work(connection: Transaction) -> Census:
        return Census(Jobs(connection).count(), Trials(connection).count_running(service.now()))

    return service.database.read(work)


def close_service(service: Service) -> None:
    """Close all connections to the database."""
    service.database.close()


def back_up(service: Service, path: Path) -> None:
    """Write a copy of the database, as of one moment, while it is in use.

    Raises:
        InvalidInput: There is something at that path already.
        ConfigurationError: PostgreSQL's programs are not installed.
        DatabaseUnavailable: The database cannot be read, or the copy cannot be written.
    """
    backups.back_up(service.database, path)


def restore(service: Service, path: Path) -> Path | None:
    """Put a copy in the place of all that is in the database, and bring it to this version.

    Returns:
        Where the content that was there before is now; None where there was none, or in PostgreSQL.

    Raises:
        InvalidInput: There is no backup at that path, or none of this kind of database.
        ConfigurationError: PostgreSQL's programs are not installed.
        DatabaseUnavailable: The database cannot be written, or a newer version made the backup.
    """
    kept = backups.restore(service.database, path)
    migrations.upgrade(service.database)
    _audit(service, "restore", path.name)
    return kept


def prune(service: Service, keep: timedelta) -> int:
    """Delete what trials reported on their way, of those that ended longer ago; what was learnt from them stays.

    Returns:
        How many reports were deleted.
    """
    before = service.now() - keep
    total = 0
    # In small steps: nobody who reports meanwhile waits for long.
    while deleted := service.database.write(lambda connection: prune_reports(connection, before)):
        total += deleted
    _audit(service, "prune", "reports", {"before": before.isoformat(), "deleted": total})
    return total


def _audit(service: Service, action: str, subject: str, details: dict[str, Any] | None = None) -> None:
    """Note what concerns all namespaces."""
    service.database.write(
        lambda connection: Audit(connection).add(
            service.now(),
            namespace=None,
            actor=service.actor,
            action=action,
            subject=subject[:128],
            details=details or {},
        )
    )
