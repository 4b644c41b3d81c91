"""A service on each database, with a clock that tests turn."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from rheostat.service import Service
from rheostat.storage.engine import Database
from rheostat.storage.migrations import upgrade
from tests.service.examples import LEASE, Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(database_url: str, clock: Clock) -> Iterator[Service]:
    """The service on an empty SQLite and on an empty PostgreSQL."""
    database = Database(database_url)
    upgrade(database)
    yield replace(Service(database), lease=LEASE, now=clock)
    database.close()
