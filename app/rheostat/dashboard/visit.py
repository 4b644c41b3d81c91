"""What all pages have in common: how a request becomes a page, or the page of an error."""

import re
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, TypeAlias

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

import rheostat
from rheostat.dashboard import glossary, static, words
from rheostat.dashboard.site import Site
from rheostat.dashboard.summaries import Summaries
from rheostat.errors import Conflict, Forbidden, InvalidInput, NotFound, RheostatError
from rheostat.schemas.fields import DEFAULT_NAMESPACE
from rheostat.schemas.server import JobDetail
from rheostat.service import Decision, Service

COOKIE = "rheostat_token"
"""Holds the token of a browser that has signed in."""

NAMESPACE_COOKIE = "rheostat_namespace"
"""Holds the namespace that a browser has chosen; its forms hold for that one alone."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""No script but our own files, no style but theirs, and nothing from another host."""

_OF_FIGURES = CONTENT_SECURITY_POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
"""Plotly sets styles of what it draws, and adds those of its maps, which are not drawn here."""
_FIGURE = 'class="plot"'

_COMMAND = re.compile(r"`([^`]+)`")

_STATUSES = (
    (NotFound, HTTPStatus.NOT_FOUND),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (Conflict, HTTPStatus.CONFLICT),
    (InvalidInput, HTTPStatus.UNPROCESSABLE_ENTITY),
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the pages are given.

    Attributes:
        reader: Returns the service for the sender of a request; it raises where they may not read.
        operator: Returns it where they may change jobs; it raises where they may not.
        namespaces: Returns the namespaces that they may choose from; none where there is no choice.
        check: Raises an error where a token does not permit to read.
        answer: Waits for a change, as the API does, and records it in the request's log line.
        read: Runs a function that reads the database in a thread, within the time that a request may take.
        site: What the operator says of the site.
        summaries: The summaries of jobs.
    """

    reader: Callable[[Request], Service]
    operator: Callable[[Request], Service]
    namespaces: Callable[[Request], list[str]]
    check: Callable[[Request, str], Awaitable[None]]
    answer: Callable[[Request, Future[Decision[JobDetail]]], Awaitable[JobDetail]]
    read: Callable[[Request, Callable[[], Response]], Awaitable[Response]]
    site: Site
    summaries: Summaries


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a page."""

    service: Service
    surroundings: Surroundings
    request: Request

    @property
    def site(self) -> Site:
        """What the operator says of the site."""
        return self.surroundings.site

    @property
    def is_operator(self) -> bool:
        """Whether the sender may change jobs."""
        try:
            self.surroundings.operator(self.request)
        except Forbidden:
            return False
        return True

    @property
    def namespaces(self) -> list[str]:
        """The namespaces to choose from, with the present one; none where there is no choice."""
        found = self.surroundings.namespaces(self.request)
        return sorted({*found, self.service.namespace}) if found else []

    def number(self, name: str) -> int | None:
        """Return a number in the query; None where there is none."""
        text = self.request.query_params.get(name, "")
        return int(text) if text.isdecimal() and len(text) <= len(str(2**63 - 1)) - 1 else None

    def text(self, name: str) -> str:
        """Return a text in the query; empty where there is none."""
        return self.request.query_params.get(name, "")[:400]

    def show(self, template: str, *, refresh_seconds: int | None = None, **values: Any) -> Response:
        """Return a page.

        Args:
            template: Name of its template.
            refresh_seconds: After which time its live parts are asked for again; None: never.
            **values: What it shows.
        """
        namespace = self.service.namespace
        values |= {"namespace": "" if namespace == DEFAULT_NAMESPACE else namespace}
        return render(self.request, self.site, template, refresh_seconds=refresh_seconds, **values)


Page: TypeAlias = Callable[[Visit], Response]


def add_page(router: APIRouter, path: str, page: Page, surroundings: Surroundings) -> None:
    """Add the route of a page that shows what may be read."""

    async def answer(request: Request) -> Response:
        try:
            service = surroundings.reader(request)
            return await surroundings.read(request, partial(page, Visit(service, surroundings, request)))
        except RheostatError as error:
            return problem(request, surroundings.site, error)

    router.add_api_route(path, answer, methods=["GET"], include_in_schema=False)


def problem(request: Request, site: Site, error: RheostatError, *, back: str = "") -> Response:
    """Return the page for an error; ``back`` is the path of the page that it leads back to."""
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), HTTPStatus.SERVICE_UNAVAILABLE)
    return problem_page(request, site, status, error.message, error.hint, back=back)


def problem_page(
    request: Request, site: Site, status: HTTPStatus, message: str, hint: str, *, back: str = ""
) -> Response:
    """Return a page that says what is wrong, and what to do about it."""
    values = {"title": status.phrase, "message": message, "hint": hint, "back": back}
    return render(request, site, "problem.html", status=status.value, **values)


def render(request: Request, site: Site, template: str, *, status: int = 200, **values: Any) -> Response:
    """Return a rendered template as an answer."""
    root = request.scope.get("root_path", "").rstrip("/")
    text = TEMPLATES.get_template(template).render(
        root=root,
        site=site,
        path=request.scope["path"].removeprefix(root),
        address=f"{request.url.scheme}://{request.url.netloc}{root}",
        is_signed_in=COOKIE in request.cookies,
        version=rheostat.__version__,
        **{"refresh_seconds": None, "namespace": ""} | values,
    )
    # Without a referrer policy of its own, a browser would send forms from "null": see `forms.is_from_here`.
    policy = _OF_FIGURES if _FIGURE in text else CONTENT_SECURITY_POLICY
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "same-origin"}
    return HTMLResponse(text, status, headers)


def _shown(value: object) -> object:
    """Return what a template shows of a value: of a text, which may be from outside, nothing stays invisible."""
    return words.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _commands(text: str) -> Markup:
    """Return a text whose parts between backticks are shown as what to type."""
    return Markup(_COMMAND.sub(r"<code>\1</code>", str(escape(words.visible(text)))))  # noqa: S704  # it is escaped


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("rheostat.dashboard"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols"],
        finalize=_shown,
    )
    environment.globals |= {"asset": static.address, "glossary": glossary.GLOSSARY, "anchor": glossary.anchor}
    environment.filters |= {
        "percent": words.percent,
        "counted": words.counted,
        "duration": words.duration,
        "watts": words.watts,
        "ago": words.ago,
        "commands": _commands,
        "explained": glossary.explained,
    }
    return environment


TEMPLATES = _environment()
