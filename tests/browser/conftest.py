"""A browser, and a real server with a job that has explored."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from rheostat.service.operations import open_service
from tests.browser.browsing import Browser, browsing
from tests.serving import Serving
from tests.visualization.examples import explore


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("browser")) as made:
        yield made


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    """The browser, which has forgotten what earlier tests asked for and complained of."""
    chromium.driver.get("about:blank")  # the last page goes on asking its server, which may be gone
    chromium.complaints()
    chromium.hosts()
    return chromium


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    home = tmp_path_factory.mktemp("site")
    url = f"sqlite:///{home / 'rheostat.db'}"
    service = open_service(url, timedelta(hours=1))
    explore(service)
    service.close()
    site = {"RHEOSTAT_ELECTRICITY_PRICE_PER_KWH": "0.28", "RHEOSTAT_CURRENCY": "EUR", "RHEOSTAT_SITE_NAME": "Lab"}
    serving = Serving(url, home / "log", RHEOSTAT_CARBON_GRAMS_PER_KWH="380", **site)
    serving.start()
    yield serving
    serving.close()


@pytest.fixture
def empty_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'rheostat.db'}"


@pytest.fixture
def empty_server(empty_url: str, tmp_path: Path) -> Iterator[Serving]:
    serving = Serving(empty_url, tmp_path / "log")
    serving.start()
    yield serving
    serving.close()
