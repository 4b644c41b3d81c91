"""The pages as routes of an application."""

from fastapi import APIRouter

from rheostat.dashboard import static
from rheostat.dashboard.pages.control import add_control
from rheostat.dashboard.pages.home import home
from rheostat.dashboard.pages.job import job
from rheostat.dashboard.pages.nodes import nodes
from rheostat.dashboard.pages.trial import trial
from rheostat.dashboard.pages.what_if import what_if
from rheostat.dashboard.session import add_session
from rheostat.dashboard.visit import Surroundings, add_page

TRIALS_CSV = "/jobs/{job_id}/trials.csv"
"""Where a job's page offers its trials; the API exports them."""

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
    router.add_api_route(f"{static.ASSETS}/{{name}}", static.answer, methods=["GET", "HEAD"], include_in_schema=False)
    return router
