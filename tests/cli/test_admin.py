"""The operator's commands where something is wrong: words, an exit code of 1, and nothing changed."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rheostat import cli
from rheostat.errors import RheostatError
from rheostat.storage.engine import Database
from rheostat.storage.migrations import upgrade
from tests.serving import operate, serving


def _try(url: str, *command: str) -> Result:
    return CliRunner().invoke(cli.app, [*command, "--database-url", url])


def _refusal(url: str, *command: str) -> str:
    """Run a command that is refused, and return what its user reads."""
    done = _try(url, *command)
    assert done.exit_code == 1
    assert isinstance(done.exception, RheostatError), done.exception
    return f"{done.exception}{done.exception.cause_text()}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database."""
    operate(f"sqlite:///{tmp_path / 'rheostat.db'}", "db", "upgrade")
    return tmp_path / "rheostat.db"


@pytest.mark.parametrize(
    "command",
    [
        ("db", "prune", "--keep-days", "1"),
        ("db", "backup", "copy"),
        ("jobs", "delete", "nightly"),
        ("jobs", "list"),
        ("jobs", "set", "nightly", "eta-knob=0.5"),
        ("jobs", "pause", "nightly"),
        ("savings",),
        ("export", "jobs"),
        ("token", "list"),
        ("audit",),
    ],
)
def test_a_wrong_path_is_named_and_no_database_made_there(command: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "typo" / "rheostat.db"
    assert f"There is no database {path}." in _refusal(f"sqlite:///{path}", *command)
    assert list(tmp_path.iterdir()) == []


def test_an_upgrade_makes_the_folder_as_a_server_does(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rheostat.db"
    assert "empty -> " in operate(f"sqlite:///{path}", "db", "upgrade")
    assert path.stat().st_mode & 0o077 == 0


def _foreign(path: Path) -> None:
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()


def _newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE rheostat_schema_version SET version_num = '9999'")
    connection.close()


def _damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:12288] = b"\xff" * 8192
    path.write_bytes(content)


WRONG: list[tuple[Callable[[Path], None], str]] = [
    (_foreign, "is the database of another program"),
    (_newer, "The schema 9999 was written by a newer version"),
    (_damage, "restore a backup: rheostat db restore FILE"),
]


@pytest.mark.parametrize(("spoil", "words"), WRONG)
@pytest.mark.parametrize("command", [("db", "upgrade"), ("db", "prune", "--keep-days", "1"), ("jobs", "list")])
def test_a_database_that_cannot_be_used_is_said_to_be_so_and_left_alone(
    spoil: Callable[[Path], None], words: str, command: tuple[str, ...], path: Path
) -> None:
    spoil(path)
    before = path.read_bytes()
    assert words in _refusal(f"sqlite:///{path}", *command)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "words"), [(_foreign, "is the database of another program"), (_newer, "written by a newer version")]
)
def test_no_such_file_is_restored(spoil: Callable[[Path], None], words: str, path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    operate(f"sqlite:///{path}", "db", "backup", str(copy))
    before = path.read_bytes()
    spoil(copy)
    assert words in _refusal(f"sqlite:///{path}", "db", "restore", str(copy))
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*before-restore*"))


@pytest.mark.parametrize("command", [("db", "status"), ("jobs", "list"), ("db", "prune", "--keep-days", "1")])
def test_a_postgresql_that_does_not_run_is_told_with_the_reason(command: tuple[str, ...], tmp_path: Path) -> None:
    words = _refusal(f"postgresql://rheostat@/rheostat?host={tmp_path}", *command)
    assert "The database cannot be reached or written." in words
    assert str(tmp_path) in words


def test_nothing_is_restored_while_a_server_runs(database_url: str, tmp_path: Path) -> None:
    database = Database(database_url)
    upgrade(database)
    database.close()
    copy = tmp_path / "copy"
    if database.is_sqlite:
        operate(database_url, "db", "backup", str(copy))
    else:
        copy.write_bytes(b"PGDMP")
    with serving(database_url, tmp_path / "log") as server:
        assert "is in use: a server" in _refusal(database_url, "db", "restore", str(copy))
        assert server.client.get("/readyz").status_code == 200
    if database.is_sqlite:
        assert operate(database_url, "db", "restore", str(copy)).startswith(f"restored: {copy}; the previous content")
