"""The file of the embedded database: private, and watched."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Timer
from types import SimpleNamespace

import pytest
from sqlalchemy import Connection, text

from rheostat.errors import ConfigurationError, DatabaseUnavailable
from rheostat.service.operations import check_ready, open_service
from rheostat.storage.engine import Database
from rheostat.storage.sqlite_file import Serving, require_database, use_write_ahead_log


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    service = open_service(f"sqlite:///{tmp_path / 'made' / 'rheostat.db'}", timedelta(seconds=9))
    yield service.database
    service.close()


def _write(database: Database) -> None:
    database.write(lambda connection: connection.execute(text("CREATE TABLE IF NOT EXISTS x (y INTEGER)")))


def _count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM x")).scalar_one())


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_nobody_else_can_read_the_file_its_log_or_its_folder(database: Database) -> None:
    _write(database)
    folder = database.sqlite_path.parent
    assert _mode(folder) == 0o700
    assert {_mode(path) for path in folder.iterdir()} == {0o600}
    assert len(list(folder.iterdir())) == 3


def test_an_older_file_is_taken_away_from_others_but_not_from_its_group(tmp_path: Path) -> None:
    path = tmp_path / "rheostat.db"
    path.touch()
    path.chmod(0o664)
    tmp_path.chmod(0o755)
    open_service(f"sqlite:///{path}", timedelta(seconds=9)).close()
    assert _mode(path) == 0o660
    assert _mode(tmp_path) == 0o755  # a folder that was there is somebody's


def test_nothing_is_written_once_the_file_was_moved_away_and_the_reason_is_told(database: Database) -> None:
    path = database.sqlite_path
    _write(database)
    path.rename(path.with_name("moved"))
    session = database.session()
    with pytest.raises(DatabaseUnavailable, match="moved away or replaced"):
        _write(database)
    with pytest.raises(DatabaseUnavailable, match="moved away or replaced"):
        session.write(_count)
    assert not path.exists()
    path.with_name("moved").rename(path)
    _write(database)
    session.write(_count)
    session.close()


def test_a_file_that_was_put_in_its_place_is_neither_read_nor_written(tmp_path: Path) -> None:
    service = open_service(f"sqlite:///{tmp_path / 'rheostat.db'}", timedelta(seconds=9))
    other = open_service(f"sqlite:///{tmp_path / 'other.db'}", timedelta(seconds=9))
    other.close()
    (tmp_path / "other.db").rename(tmp_path / "rheostat.db")
    with pytest.raises(DatabaseUnavailable, match="moved away or replaced"):
        check_ready(service)
    with pytest.raises(DatabaseUnavailable, match="moved away or replaced"):
        _write(service.database)
    service.close()


def test_a_full_disk_makes_the_server_not_ready(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.require_writable()
    full = SimpleNamespace(free=9_999_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(DatabaseUnavailable, match=r"is full: 10\.0 MB left"):
        database.require_writable()


def test_what_is_no_database_is_refused_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database")
    for path in (tmp_path / "notes.txt", tmp_path):
        with pytest.raises(ConfigurationError, match=f"{path} is not an SQLite database"):
            require_database(path)


def test_a_missing_or_empty_file_becomes_one(tmp_path: Path, migrated_sqlite: Path) -> None:
    (tmp_path / "empty").touch()
    for path in (tmp_path / "empty", tmp_path / "missing", migrated_sqlite):
        require_database(path)


def test_a_second_server_of_a_file_knows_of_the_first_by_any_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "other").touch()
    with closing(Serving(tmp_path / "file")) as first:
        assert first.is_first
        with closing(Serving(tmp_path / "link")) as second, closing(Serving(tmp_path / "other")) as other:
            assert (second.is_first, other.is_first) == (False, True)
    with closing(Serving(tmp_path / "link")) as later:
        assert later.is_first
    with closing(Serving(tmp_path / "missing")) as missing:
        assert missing.is_first is None


def test_a_file_is_switched_to_a_log_although_another_process_holds_its_lock_for_a_moment(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "new", isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE x (y INTEGER)")
        other.execute("BEGIN IMMEDIATE")
        freeing = Timer(0.3, lambda: other.execute("ROLLBACK"))
        freeing.start()
        with closing(sqlite3.connect(tmp_path / "new", timeout=0.0)) as connection:
            use_write_ahead_log(connection, 60.0)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        freeing.join()
