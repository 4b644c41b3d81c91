"""A database of a test's own on each engine, whose tables it may change."""

from collections.abc import Iterator

import pytest

from rheostat.storage.engine import Database
from rheostat.storage.migrations import upgrade


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    upgrade(made)
    yield made
    made.close()
