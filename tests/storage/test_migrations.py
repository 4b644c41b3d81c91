"""Bringing a database's schema to this version."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from rheostat.errors import DatabaseUnavailable
from rheostat.storage.engine import Database
from rheostat.storage.migrations import schema_status, upgrade
from rheostat.storage.tables import VERSION_TABLE, metadata


def _upgrade(url: str) -> bool:
    """Upgrade in a process of its own and return whether the schema is this version's afterwards."""
    database = Database(url)
    try:
        upgrade(database)
        return schema_status(database).at_head
    finally:
        database.close()


def test_the_migrations_make_the_tables_that_the_code_uses(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return list(compare_metadata(context, metadata))

    assert database.read(differences) == []


def test_the_migrations_make_the_constraints_and_indexes_that_the_code_names(database: Database) -> None:
    def names(connection: Connection) -> set[str | None]:
        found = inspect(connection)
        return {
            item["name"]
            for table in metadata.tables
            for item in (*found.get_indexes(table), *found.get_unique_constraints(table))
        } | {item["name"] for table in metadata.tables for item in found.get_check_constraints(table)}

    named = {item.name for table in metadata.tables.values() for item in table.indexes}
    assert named <= database.read(names)
    assert "ck_trials_state" in database.read(names)


def test_an_empty_database_becomes_current_and_a_current_one_stays(database_url: str) -> None:
    database = Database(database_url)
    assert schema_status(database).current is None
    assert upgrade(database).current is None
    assert upgrade(database).at_head
    database.close()


def test_two_processes_that_upgrade_at_once_migrate_once(database_url: str) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(_upgrade, [database_url] * 2)) == [True, True]


def test_the_schema_of_a_newer_version_is_refused(database: Database) -> None:
    database.write(lambda connection: connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")))
    assert not schema_status(database).known
    with pytest.raises(DatabaseUnavailable, match="newer version"):
        upgrade(database)


def test_an_sqlite_file_with_data_is_copied_before_it_is_upgraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'rheostat.db'}")
    upgrade(database)
    status = schema_status(database)
    monkeypatch.setattr(
        "rheostat.storage.migrations.schema_status", lambda _: type(status)(status.current, "9998", known=True)
    )
    upgrade(database)
    database.close()
    (backup,) = tmp_path.glob(f"rheostat.db.{status.current}.*.backup")
    copy = Database(f"sqlite:///{backup}")
    assert copy.read(lambda connection: inspect(connection).has_table("jobs"))
    copy.close()
