"""A migrated database on each engine, without a row, and the service over it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete

from rheostat.service import Service
from rheostat.storage.engine import Database
from rheostat.storage.migrations import upgrade
from rheostat.storage.tables import metadata
from tests.domain.examples import LEASE, Clock
from tests.postgres import PostgresServer


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of which each test gets a copy."""
    path = tmp_path_factory.mktemp("migrated") / "rheostat.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_postgresql(postgres: PostgresServer) -> str:
    """The URL of a database that tests use one after the other."""
    url = postgres.create_database()
    _migrate(url)
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated database without a row; a test that takes it runs once on each engine."""
    if request.param == "sqlite":
        path = shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "rheostat.db")
        url = f"sqlite:///{path}"
    else:
        url = request.getfixturevalue("migrated_postgresql")
    database = Database(url)
    yield database
    if not database.is_sqlite:
        database.write(_delete_all)
    database.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(migrated: Database, clock: Clock) -> Iterator[Service]:
    """A service on each engine, with a clock that tests turn."""
    made = Service.of(migrated, LEASE, clock)
    yield made
    made.jobs.close()


def _migrate(url: str) -> None:
    database = Database(url)
    upgrade(database)
    database.close()


def _delete_all(connection: Connection) -> None:
    for table in reversed(metadata.sorted_tables):
        connection.execute(delete(table))
