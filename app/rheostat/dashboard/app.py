"""The pages as routes of an application."""

from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from rheostat.dashboard.pages.control import add_control
from rheostat.dashboard.pages.home import home
from rheostat.dashboard.pages.job import job
from rheostat.dashboard.pages.nodes import nodes
from rheostat.dashboard.pages.trial import trial
from rheostat.dashboard.pages.what_if import what_if
from rheostat.dashboard.session import add_session
from rheostat.dashboard.visit import Surroundings, add_page, assets

ASSETS = "/assets"
"""Where style sheet, scripts and icon are; they are the same for everybody, and no secret."""

TRIALS_CSV = "/jobs/{job_id}/trials.csv"
"""Where a job's page offers its trials; the API exports them."""

_A_DAY = "public, max-age=86400"


_PAGES = (
    ("/", home),
    ("/jobs/{job_id}", job),
    ("/jobs/{job_id}/what-if", what_if),
    ("/trials/{trial_id}", trial),
    ("/nodes", nodes),
)


def is_page(path: str) -> bool:
    """Return whether a path is that of a page, where a browser may show its token in a cookie."""
    first = path.split("/")[1]
    return any(first == page.split("/")[1] for page, _ in _PAGES)


def dashboard_router(surroundings: Surroundings) -> APIRouter:
    """Return the routes of the pages."""
    router = APIRouter()
    for path, page in _PAGES:
        add_page(router, path, page, surroundings)
    add_control(router, "/jobs/{job_id}", surroundings)
    add_session(router, surroundings.site, surroundings.check)
    router.add_api_route(f"{ASSETS}/plotly.min.js", _plotly, methods=["GET"], include_in_schema=False)
    router.mount(ASSETS, StaticFiles(directory=assets()), "assets")
    return router


async def _plotly(request: Request) -> Response:
    """Return the library that draws the figures, from the package that carries it."""
    spec = find_spec("plotly")  # not imported: that would take a tenth of a second
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    return FileResponse(path, headers={"Cache-Control": _A_DAY}, media_type="text/javascript")
