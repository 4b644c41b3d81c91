"""Transactions, and the translation of the database's errors."""

from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from rheostat.errors import ConfigurationError, DatabaseBusy, DatabaseUnavailable, SchemaOutdated
from rheostat.storage import engine
from rheostat.storage.engine import Database
from rheostat.storage.migrations import upgrade
from tests.postgres import PostgresServer
from tests.waiting import PATIENCE_SECONDS


def _count(database: Database) -> int:
    return database.read(lambda c: int(c.execute(text("SELECT count(*) FROM jobs")).scalar_one()))


def _insert_job(connection: Connection, job_id: str = "a") -> None:
    connection.execute(
        text(
            "INSERT INTO jobs (job_id, settings, registered_settings, seed, next_trial_number, next_sequence,"
            " created_at, updated_at) VALUES (:job_id, '{}', '{}', 0, 1, 1, :now, :now)"
        ),
        {"job_id": job_id, "now": "2026-01-01 00:00:00+00:00"},
    )


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("nonsense", "sqlite:////path"),
        ("mysql://localhost/x", "SQLite or PostgreSQL"),
        ("sqlite://", "sqlite:////path"),
        ("sqlite:///:memory:", "sqlite:////path"),
        ("sqlite:///x.db?mode=ro", "sqlite:////path"),
        ("postgresql://me@host:port/x", "sqlite:////path"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_with_the_remedy(url: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy):
        Database(url)


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "cifs"])
def test_sqlite_on_a_network_file_system_is_refused(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    mounts = f"/dev/sda / ext4 rw 0 0\nserver:/home /mnt/my\\040home {kind} rw 0 0\n"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: mounts)
    with pytest.raises(ConfigurationError, match=f"network file system .{kind}.*PostgreSQL"):
        Database("sqlite:////mnt/my home/rheostat.db")
    Database("sqlite:////mnt/other/rheostat.db").close()


def test_a_password_is_never_shown() -> None:
    for url in ("postgresql://user:secret@localhost/x", "postgresql://user@localhost/x?password=secret"):
        database = Database(url)
        assert "secret" not in str(database)
        assert database.url.password == "secret"
        database.close()


def test_nothing_of_a_failed_transaction_stays(database: Database) -> None:
    def fail(connection: Connection) -> None:
        _insert_job(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(fail)
    assert _count(database) == 0


def test_a_failure_that_the_work_swallows_is_not_taken_for_a_success(postgres: PostgresServer) -> None:
    database = Database(postgres.create_database())
    upgrade(database)

    def swallow(connection: Connection) -> str:
        _insert_job(connection)
        with suppress(DBAPIError):
            connection.execute(text("SELECT 1 / 0"))
        return "done"

    with pytest.raises(DatabaseUnavailable):
        database.write(swallow)
    assert _count(database) == 0
    database.close()


def test_what_is_read_in_several_statements_is_of_one_moment(database: Database) -> None:
    def read(connection: Connection) -> list[int]:
        counts = []
        for job_id in ("a", "b"):
            counts.append(int(connection.execute(text("SELECT count(*) FROM jobs")).scalar_one()))
            database.write(lambda other, job_id=job_id: _insert_job(other, job_id))  # type: ignore[misc]
        return counts

    assert database.read(read) == [0, 0]
    assert _count(database) == 2


def test_a_lost_race_is_run_once_more(database: Database) -> None:
    tries = []

    def race(connection: Connection) -> None:
        tries.append(1)
        _insert_job(connection, "won" if len(tries) > 1 else "lost")
        if len(tries) == 1:
            _insert_job(connection, "lost")

    database.write(race)
    assert (len(tries), _count(database)) == (2, 1)


def test_a_race_that_is_lost_twice_is_an_error_to_retry(database: Database) -> None:
    def lose(connection: Connection) -> None:
        _insert_job(connection)
        _insert_job(connection)

    with pytest.raises(DatabaseBusy, match="Try again") as busy:
        database.write(lose)
    assert isinstance(busy.value.__cause__, IntegrityError)
    assert "INSERT" not in str(busy.value)


def test_readers_cannot_write_to_sqlite(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    with pytest.raises(DatabaseUnavailable):
        database.read(lambda c: c.execute(text("CREATE TABLE x (y INTEGER)")))
    database.close()


def test_missing_tables_are_an_error_that_names_the_command(database_url: str) -> None:
    database = Database(database_url)
    with pytest.raises(SchemaOutdated, match="rheostat db upgrade"):
        _count(database)
    database.close()


def test_a_database_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path / 'missing' / 'x.db'}", "postgresql://nobody@127.0.0.1:1/x"):
        database = Database(url)
        with pytest.raises(DatabaseUnavailable, match="cannot be reached") as gone:
            database.read(lambda c: c.execute(text("SELECT 1")))
        assert gone.value.retryable
        database.close()


def test_a_lock_that_times_out_is_an_error(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LOCK_TIMEOUT_SECONDS", 0.3)
    impatient = Database(database.url.render_as_string(hide_password=False))
    database.write(_insert_job)
    held, release = Event(), Event()

    def hold(connection: Connection) -> None:
        connection.execute(text("UPDATE jobs SET seed = 1"))
        held.set()
        release.wait(PATIENCE_SECONDS)

    holder = Thread(target=database.write, args=(hold,))
    holder.start()
    assert held.wait(PATIENCE_SECONDS)
    with pytest.raises(DatabaseBusy):
        impatient.write(lambda c: c.execute(text("UPDATE jobs SET seed = 2")))
    release.set()
    holder.join()
    impatient.write(lambda c: c.execute(text("UPDATE jobs SET seed = 3")))
    impatient.close()


def test_a_full_disk_is_unavailable_and_loses_nothing(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'x.db'}")
    database.write(lambda c: c.execute(text("CREATE TABLE x (y TEXT)")))

    def fill(connection: Connection) -> None:
        connection.execute(text("PRAGMA max_page_count = 10"))
        connection.execute(text("INSERT INTO x VALUES (:y)"), {"y": "y" * 1_000_000})

    with pytest.raises(DatabaseUnavailable):
        database.write(fill)
    assert database.read(lambda c: c.execute(text("SELECT count(*) FROM x")).scalar_one()) == 0
    database.close()


def test_a_killed_connection_fails_no_request(postgres: PostgresServer) -> None:
    database = Database(postgres.create_database())
    kill = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()")
    database.read(lambda c: c.execute(text("SELECT 1")))
    other = Database(database.url.render_as_string(hide_password=False))
    with pytest.raises(DatabaseUnavailable):
        other.read(lambda c: c.execute(kill))
    assert database.read(lambda c: c.execute(text("SELECT 1")).scalar_one()) == 1
    other.close()
    database.close()


def test_a_database_that_was_made_read_only_is_not_written_by_connections_that_read_before(
    postgres: PostgresServer,
) -> None:
    url = postgres.create_database()
    database = Database(url)
    upgrade(database)
    session = database.session()
    session.write(_insert_job)
    assert _count(database) == 1
    database.require_writable()
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql"), autocommit=True) as operator:
        try:
            _make_read_only(operator, "on")
            for write in (database.write, session.write):
                with pytest.raises(DatabaseUnavailable, match="read-only"):
                    write(lambda connection: _insert_job(connection, "late"))
            with pytest.raises(DatabaseUnavailable, match="read-only"):
                database.require_writable()
            assert _count(database) == 1
        finally:
            _make_read_only(operator, "off")
    database.write(lambda connection: _insert_job(connection, "allowed again"))
    database.require_writable()
    session.close()
    database.close()


def _make_read_only(operator: psycopg.Connection, value: str) -> None:
    """Change the default of all sessions, open ones included, and wait until sessions have heard of it."""
    operator.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
    operator.execute("SELECT pg_reload_conf()")
    row = ("",)
    while row != (value,):
        row = operator.execute("SELECT current_setting('default_transaction_read_only')").fetchone() or row
