"""The application: its documentation page, its probes, and the database that it opens."""

import re

import httpx
import pytest
from fastapi import FastAPI

import rheostat
from rheostat.api.app import create_app
from rheostat.api.settings import load_settings
from rheostat.errors import ConfigurationError
from tests.api.asgi import ask


def test_the_page_needs_no_other_host(http: httpx.Client) -> None:
    page = http.get("/docs").text
    linked = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert linked
    for address in linked:
        assert address.startswith("/"), address
        assert http.get(address).status_code == 200


def test_health_and_readiness(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == http.get("/readyz").json() == {"status": "ok"}


def test_the_page_finds_its_assets_behind_a_proxy_that_adds_a_prefix(app: FastAPI) -> None:
    answer = ask(app, "/rheostat/docs", root_path="/rheostat")
    assert answer.status == 200
    assert b"/rheostat/docs/assets/swagger-ui.css" in answer.body
    assert b"/rheostat/openapi.json" in answer.body


def test_the_description_of_the_routes_has_the_version_of_the_package(app: FastAPI) -> None:
    assert app.openapi()["info"]["version"] == rheostat.__version__


@pytest.mark.parametrize(
    ("url", "remedy"), [("mysql://localhost/x", "SQLite or PostgreSQL"), ("sqlite://", "sqlite:////path")]
)
def test_a_database_that_cannot_be_used_is_refused_with_the_remedy(url: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy):
        create_app(load_settings(database_url=url))
