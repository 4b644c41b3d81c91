"""One server on SQLite for the whole suite."""

from collections.abc import Iterator

import httpx
import pytest

from tests.serving import SETTINGS, Serving, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    home = tmp_path_factory.mktemp("api")
    with serving(f"sqlite:///{home / 'rheostat.db'}", home / "log") as running:
        yield running


@pytest.fixture
def http(server: Serving) -> httpx.Client:
    """A client of the server, which knows the job `nightly`."""
    server.client.put("/v1/jobs/nightly", json=SETTINGS).raise_for_status()
    return server.client
