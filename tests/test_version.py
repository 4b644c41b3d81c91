"""The version is written once, in the package; what else names it derives from it, or is checked here."""

import re
import tomllib
from pathlib import Path

import httpx
import pytest

from rheostat import Client, __version__

ROOT = Path(__file__).parents[1]


def test_it_is_a_release_of_semantic_versioning() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_the_package_takes_it_from_the_source() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in settings["project"]
    assert "version" in settings["project"]["dynamic"]
    assert settings["tool"]["hatch"]["version"]["path"] == "app/rheostat/__init__.py"


@pytest.mark.parametrize(
    "path", ["docker-compose.yml", *(str(path.relative_to(ROOT)) for path in (ROOT / "deploy").rglob("*.yaml"))]
)
def test_every_image_of_ours_has_it_as_tag(path: str) -> None:
    text = (ROOT / path).read_text()
    assert {*re.findall(r"image: rheostat[\w-]*:(\S+)", text)} <= {__version__}
    assert "rheostat:latest" not in text


def test_the_image_is_labelled_with_it() -> None:
    labels = dict(re.findall(r'(org\.opencontainers\.image\.\w+)="([^"]*)"', (ROOT / "Dockerfile").read_text()))
    assert labels["org.opencontainers.image.version"] == __version__


def test_the_newest_release_of_the_changelog_is_it() -> None:
    released = re.findall(r"^## \[(\d[^\]]*)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == __version__


def test_a_client_names_it_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def answer(transport: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        sent.append(request.headers["User-Agent"])
        return httpx.Response(200, json={"jobs": [], "next_cursor": None})

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answer)
    with Client("http://127.0.0.1:9") as client:
        client.list_jobs()
    assert sent == [f"rheostat/{__version__} python-httpx/{httpx.__version__}"]
