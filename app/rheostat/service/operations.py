"""Operating the service: open, check and close it, migrate, back up and prune its database."""

import logging
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Event

from platformdirs import user_state_path

from rheostat.domain import registration
from rheostat.errors import ConfigurationError, InvalidInput, JobNotFound, PolicyFailed, SchemaOutdated
from rheostat.service.context import Service
from rheostat.storage import backups, migrations
from rheostat.storage.deletion import delete_rows
from rheostat.storage.engine import Database
from rheostat.storage.migrations import SchemaStatus
from rheostat.storage.queries import Counts, counts, jobs_without_totals
from rheostat.storage.retention import prune_reports
from rheostat.storage.sqlite_file import Serving, require_database
from rheostat.storage.steps import Progress, Steps, Watch, unwatched
from rheostat.storage.stored_job import JobKey

__all__ = ["Progress"]

_log = logging.getLogger(__name__)


def default_database_url() -> str:
    """Return the URL of the embedded database in the user's state directory."""
    return f"sqlite:///{user_state_path('rheostat', appauthor=False) / 'rheostat.db'}"


def open_service(
    database_url: str | None,
    lease: timedelta,
    *,
    upgrade: bool = True,
    create: bool = True,
    password: str | None = None,
    statement_timeout: timedelta | None = None,
) -> Service:
    """Return a service over a database; the embedded one is created and migrated if necessary.

    A PostgreSQL that cannot be reached is not an error here: requests fail with DatabaseUnavailable until it can.

    Args:
        database_url: An SQLAlchemy URL; None: the embedded database in the user's state directory.
        lease: How long a trial may be silent before it counts as abandoned.
        upgrade: Whether to migrate the embedded database to this version's schema.
        create: Whether to create an embedded database that does not exist.
        password: The database user's password, if it is not in the URL.
        statement_timeout: How long PostgreSQL lets a statement run; None: without limit.

    Raises:
        ConfigurationError: The URL is invalid, or the database's file does not exist or cannot be created.
        DatabaseUnavailable: The embedded database cannot be opened or migrated.
    """
    database = Database(database_url or default_database_url(), password, statement_timeout)
    if database.is_sqlite:
        require_database(database.sqlite_path)
        if not create and not database.sqlite_path.exists():
            raise ConfigurationError(
                f"There is no database {database.sqlite_path}.",
                hint="Check --database-url or RHEOSTAT_DATABASE_URL; `rheostat serve` creates one.",
            )
    service = Service.of(database, lease)
    if database.is_sqlite and upgrade:
        upgrade_schema(service)
    return service


def _make_file(database: Database) -> None:
    try:
        database.file.make_private()
    except OSError as error:
        raise ConfigurationError(
            f"Cannot create the database: {error}.",
            hint="Set RHEOSTAT_DATABASE_URL to a file in a writable directory.",
        ) from error


def database_place(service: Service) -> str:
    """Return where the database is, without a password."""
    database = service.database
    return str(database.sqlite_path.absolute()) if database.is_sqlite else str(database)


def begin_serving(service: Service) -> Serving | None:
    """Tell other servers that this one serves an embedded database, until the answer is closed; None: PostgreSQL."""
    return Serving(service.database.sqlite_path) if service.database.is_sqlite else None


def upgrade_schema(service: Service, watch: Watch = unwatched) -> SchemaStatus:
    """Migrate the schema to this version's, and derive what older ones kept otherwise; return its status before.

    The file of an embedded database is created if necessary.

    Args:
        service: The service.
        watch: Called with how many jobs' states are derived, after each.

    Raises:
        ConfigurationError: The file cannot be created, or is of another program.
        DatabaseUnavailable: The database cannot be reached, or its schema is of a newer version.
    """
    if service.database.is_sqlite:
        _make_file(service.database)
    before = migrations.upgrade(service.database)
    outdated = jobs_without_totals(service.database)
    if outdated:
        _log.info("deriving the states of %d jobs of an older version, about a millisecond a trial", len(outdated))
    for done, key in enumerate(outdated, start=1):
        with suppress(JobNotFound):  # deleted meanwhile
            _complete(service, key)
        watch(Progress(done, done / len(outdated)))
    return before


def _complete(service: Service, key: JobKey) -> None:
    try:
        service.jobs.change(key, registration.complete).result()
    except (InvalidInput, PolicyFailed) as error:
        _log.warning(
            "the policy's state of %s is of an older version: run `rheostat jobs rebuild %s` when its policy works: %s",
            key.job_id,
            key.job_id,
            error,
        )
        service.jobs.change(key, partial(registration.complete, with_policy=False)).result()


def schema_status(service: Service) -> SchemaStatus:
    """Return the status of the schema.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    return migrations.schema_status(service.database)


def check_ready(service: Service) -> None:
    """Check that the service can answer requests.

    Raises:
        DatabaseUnavailable: The database cannot be reached or written.
        SchemaOutdated: Its schema is of another version.
    """
    status = schema_status(service)
    if status.at_head:
        service.database.require_writable()
        return
    if status.known:
        hint = "Run `rheostat db upgrade`."
    else:
        hint = "It was written by a newer version of Rheostat: install that version here."
    raise SchemaOutdated(
        f"The database's schema is {status.current or 'empty'}; this version needs {status.head}.", hint=hint
    )


def database_time(service: Service) -> datetime:
    """Return the time by the clock of PostgreSQL's machine; with an embedded database, by this one's.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    return service.now() if service.database.is_sqlite else service.database.time()


def count(service: Service) -> Counts:
    """Return the numbers of jobs and of running trials, in all namespaces.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    return counts(service.database, service.now())


def back_up(service: Service, path: Path) -> None:
    """Write a consistent backup of the database while it is in use.

    Raises:
        InvalidInput: The path exists.
        ConfigurationError: PostgreSQL's client programs are not installed.
        DatabaseUnavailable: The database cannot be read, or the backup cannot be written.
    """
    backups.back_up(service.database, path)


def restore(service: Service, path: Path) -> Path | None:
    """Replace the content of the database with a backup, and migrate it to this version's schema.

    Returns:
        The previous content, in a file beside the database; None if there was none, or in PostgreSQL.

    Raises:
        InvalidInput: The path is not a backup of this kind of database.
        ConfigurationError: PostgreSQL's client programs are not installed, or another process uses the database.
        DatabaseUnavailable: The database cannot be written, or the backup is of a newer version.
    """
    migrations.check_backup(service.database, path)
    kept = backups.restore(service.database, path)
    upgrade_schema(service)
    service.audit_trail.add(service.audit_entry("restore", path.name[:128], namespace=None))
    return kept


def prune(service: Service, keep: timedelta, stop: Event | None = None, watch: Watch = unwatched) -> int:
    """Delete the reports of trials that ended long ago, except the last of each; what was learned from them stays.

    It works in short steps, so that others write meanwhile.

    Args:
        service: The service.
        keep: How long reports are kept after the end of their trial.
        stop: Ends it early once it is set; what is deleted stays deleted.
        watch: Called with the progress.

    Returns:
        The number of deleted reports.

    Raises:
        Unavailable: The database cannot be read or written.
    """
    before = service.now() - keep
    steps = Steps(service.database, stop, watch)
    try:
        prune_reports(steps, before)
    finally:
        details = {"before": before.isoformat(), "deleted": steps.done}
        service.audit_trail.add(service.audit_entry("prune", "reports", namespace=None, **details))
    return steps.done


def begin_deletion(service: Service) -> None:
    """Delete from now on in the background what is left of deleted jobs, also what an ended server left."""
    service.purger.start()


def finish_deletion(service: Service, stop: Event | None = None, watch: Watch = unwatched) -> int:
    """Delete what is left of deleted jobs, in short steps, and return the number of deleted rows.

    Args:
        service: The service.
        stop: Ends it early once it is set; a server or the next prune goes on.
        watch: Called with the progress.

    Raises:
        Unavailable: The database cannot be read or written.
    """
    steps = Steps(service.database, stop, watch)
    delete_rows(steps)
    return steps.done
