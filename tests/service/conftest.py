"""A service on each database, with a clock that tests turn."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete

from rheostat.service import Service
from rheostat.storage.engine import Database
from rheostat.storage.migrations import upgrade
from rheostat.storage.tables import metadata
from tests.postgres import PostgresServer
from tests.service.examples import LEASE, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres_url(postgres: PostgresServer) -> str:
    """The URL of a database that this suite's tests use one after the other."""
    return postgres.create_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database in which there is nothing, or no row."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'rheostat.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def service(database_url: str, clock: Clock) -> Iterator[Service]:
    """The service on an empty SQLite and on an empty PostgreSQL."""
    database = Database(database_url)
    upgrade(database)
    yield replace(Service(database), lease=LEASE, now=clock)
    database.write(_empty)
    database.close()


def _empty(connection: Connection) -> None:
    for table in reversed(metadata.sorted_tables):
        connection.execute(delete(table))
