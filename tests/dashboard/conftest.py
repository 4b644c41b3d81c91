"""The pages in this process: an empty server, and one with a job that has explored."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from rheostat.api.app import create_app
from rheostat.api.settings import load_settings
from rheostat.service import Service
from tests.visualization.examples import explore


class _Text(HTMLParser):
    """Collects what a reader sees, and the figures of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.figures: dict[str, str] = {}
        self.links: list[str] = []
        self._figure = ""
        self._in_data = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        self._figure = names.get("id") or "" if tag == "figure" else self._figure
        self._in_data = tag == "script"
        if names.get("href"):
            self.links.append(names["href"] or "")

    def handle_endtag(self, tag: str) -> None:
        self._in_data = False

    def handle_data(self, data: str) -> None:
        if self._in_data:
            self.figures[self._figure] = data
        else:
            self.text.append(data)


@dataclass(frozen=True)
class Page:
    """A page as a reader sees it."""

    answer: httpx.Response

    @property
    def html(self) -> str:
        return self.answer.text

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._parsed.text).split())

    @property
    def figures(self) -> dict[str, str]:
        return self._parsed.figures

    @property
    def links(self) -> list[str]:
        return self._parsed.links

    @property
    def _parsed(self) -> _Text:
        parsed = _Text()
        parsed.feed(self.html)
        return parsed


@dataclass(frozen=True)
class Pages:
    """A server's pages, and its service."""

    app: FastAPI

    @property
    def service(self) -> Service:
        service = self.app.state.service
        assert isinstance(service, Service)
        return service

    def get(self, path: str, **request: Any) -> Page:
        return Page(self.send("GET", path, **request))

    def send(
        self, method: str, path: str, *, root_path: str = "", cookies: dict[str, str] | None = None, **request: Any
    ) -> httpx.Response:
        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, root_path=root_path)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost", cookies=cookies) as client:
                return await client.request(method, path, **request)

        return asyncio.run(answer())


def _pages(folder: Path, **settings: object) -> Iterator[Pages]:
    app = create_app(load_settings(database_url=f"sqlite:///{folder / 'rheostat.db'}", **settings))
    yield Pages(app)

    async def shut_down() -> None:
        async with app.router.lifespan_context(app):
            pass

    asyncio.run(shut_down())


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Pages]:
    yield from _pages(tmp_path)


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    settings = {"electricity_price_per_kwh": 0.25, "currency": "EUR", "site_name": "Lab <1>"}
    for made in _pages(tmp_path_factory.mktemp("pages"), **settings):
        explore(made.service)
        yield made
