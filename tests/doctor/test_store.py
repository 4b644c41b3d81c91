"""Checks of the database and the port of a server here."""

import shutil
import socket
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from rheostat.doctor.facts.remote import Remote, look_at_server
from rheostat.doctor.facts.store import Store, look_at_store
from rheostat.storage.tables import VERSION_TABLE
from tests.doctor.machines import answering, found, unprivileged
from tests.serving import Serving
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture
def database(migrated_sqlite: Path, directory: Path) -> Path:
    """A database, in a directory that other users can enter."""
    return Path(shutil.copy(migrated_sqlite, directory / "rheostat.db"))


def look(path: Path) -> Store:
    return look_at_store(f"sqlite:///{path}")


def set_revision(path: Path, revision: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = ?", (revision,))
    connection.close()


def test_a_database_as_it_should_be(database: Path) -> None:
    before = database.read_bytes()
    finding = found("database", store=look(database))
    assert (finding.state, finding.found.startswith(f"{database}, schema 0008, ")) == ("ok", True)
    assert database.read_bytes() == before


def test_one_that_is_not_there_yet_is_made_by_the_server_alone(directory: Path) -> None:
    path = directory / "new" / "rheostat.db"
    finding = found("database", store=look(path))
    assert (finding.state, finding.found) == ("ok", f"there is none yet; rheostat serve makes {path}")
    assert not path.parent.exists()


def test_a_database_from_the_future(database: Path) -> None:
    set_revision(database, "9999")
    finding = found("database", store=look(database))
    assert (finding.state, "schema is 9999; this version needs 0008" in finding.found) == ("problem", True)
    assert "newer version of Rheostat" in finding.remedy


def test_a_database_of_an_older_version(database: Path) -> None:
    set_revision(database, "0007")
    finding = found("database", store=look(database))
    assert (finding.state, "rheostat db backup" in finding.remedy) == ("warning", True)


def test_a_file_that_is_no_database(directory: Path) -> None:
    path = directory / "rheostat.db"
    path.write_text("some text that is longer than a header")
    finding = found("database", store=look(path))
    assert (finding.state, f"{path} is not an SQLite database." in finding.found) == ("problem", True)


def test_a_database_on_a_network_file_system(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rheostat.storage.sqlite_file._file_system_of", lambda _: "nfs4")
    finding = found("database", store=look(directory / "rheostat.db"))
    assert (finding.state, finding.remedy) == ("problem", "Use a local disk, or PostgreSQL.")


def test_the_clock_of_postgresql_is_read(migrated_postgresql: str) -> None:
    store = look_at_store(migrated_postgresql)
    assert store.behind_seconds is not None
    assert abs(store.behind_seconds) < PATIENCE_SECONDS
    assert found("database", store=store).state == "ok"
    assert "the database's" in found("clock", store=store).found


def test_a_folder_that_may_not_be_written(database: Path, directory: Path) -> None:
    database.chmod(0o644)
    directory.chmod(0o555)
    try:
        with unprivileged():
            there, new = look(database), look(directory / "new.db")
    finally:
        directory.chmod(0o755)
    assert "may not be written by this user" in found("database", store=there).found
    assert f"{directory / 'new.db'} cannot be made" in found("database", store=new).found
    assert {found("database", store=store).state for store in (there, new)} == {"problem"}


def test_a_server_of_postgresql_that_does_not_answer() -> None:
    finding = found("database", store=look_at_store("postgresql://rheostat:secret@127.0.0.1:1/rheostat"))
    assert (finding.state, "secret" in finding.found) == ("problem", False)
    assert "Connection refused" in finding.found


def test_a_setting_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHEOSTAT_PORT", "high")
    finding = found("database", store=look_at_store(None))
    assert (finding.state, "RHEOSTAT_PORT" in finding.found) == ("problem", True)


def test_a_disk_that_is_nearly_full() -> None:
    store = Store(has_extra=True, place="/var/rheostat.db", is_file=True, exists=True, free_bytes=3_000_000)
    finding = found("database", store=store)
    assert (finding.state, finding.found) == ("warning", "3 MB are left on the disk of /var/rheostat.db")


def test_a_machine_without_a_server_is_not_asked_for_its_database() -> None:
    assert (found("database").state, found("port").state) == ("skipped", "skipped")
    elsewhere = Remote(url="https://rheostat.example", is_named=True, is_local=False)
    assert found("database", store=Store(has_extra=True), remote=elsewhere).state == "skipped"


def test_a_port_that_another_program_has(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("RHEOSTAT_PORT", str(port))
        finding = found("port", store=look(database))
        assert finding.state == "warning"
        assert finding.found == f"127.0.0.1:{port} cannot be bound: another program has it"
    assert found("port", store=look(database)).state == "ok"
    ours = Remote(is_rheostat=True)
    assert found("port", store=look(database), remote=ours).state == "skipped"


def test_a_port_that_a_server_has_which_the_variable_does_not_name(
    database: Path, server: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.client.base_url
    here = f"http://127.0.0.1:{url.port}"
    monkeypatch.setenv("RHEOSTAT_PORT", str(url.port))
    store = look(database)
    with answering({}) as wrong:
        other_program = look_at_server(wrong)
    gone = look_at_server(wrong)
    for remote in (other_program, gone):
        finding = found("port", store=store, remote=remote)
        assert (finding.state, finding.found) == (
            "skipped",
            f"a Rheostat server listens at {here}; RHEOSTAT_URL names another address",
        )
        finding = found("server", store=store, remote=remote)
        assert (finding.state, finding.remedy) == (
            "problem",
            f"Use the server that listens here: export RHEOSTAT_URL={here}",
        )
    away = found("server", store=store, remote=replace(gone, is_local=False, host="gpu-server"))
    assert away.remedy.startswith("Start the server on gpu-server.")
    assert away.remedy.endswith(f"Or use the server that listens here: export RHEOSTAT_URL={here}")
    unnamed = found("port", store=store, remote=replace(gone, is_named=False))
    assert unnamed.found.endswith("RHEOSTAT_URL does not name it")
