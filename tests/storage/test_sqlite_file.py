"""The file of an embedded database."""

from contextlib import closing
from pathlib import Path

import pytest

from rheostat.errors import ConfigurationError
from rheostat.storage.sqlite_file import Serving, require_database


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
