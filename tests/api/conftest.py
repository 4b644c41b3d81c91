"""One server on SQLite for all tests of the API."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from rheostat.api.app import create_app
from rheostat.api.settings import load_settings
from tests.serving import SETTINGS, Serving, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    home = tmp_path_factory.mktemp("api")
    with serving(f"sqlite:///{home / 'rheostat.db'}", home / "log") as running:
        yield running


@pytest.fixture
def http(server: Serving) -> httpx.Client:
    """A client of the server, where the job `nightly` is registered."""
    server.client.put("/v1/jobs/nightly", json=SETTINGS).raise_for_status()
    return server.client


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FastAPI]:
    """An application in this process, on a database of its own."""
    made = create_app(load_settings(database_url=f"sqlite:///{tmp_path / 'rheostat.db'}"))
    yield made

    async def shut_down() -> None:
        async with made.router.lifespan_context(made):
            pass

    asyncio.run(shut_down())
