"""The pages as routes of an application."""

from fastapi import APIRouter

from rheostat.dashboard import static
from rheostat.dashboard.pages.control import add_control
from rheostat.dashboard.pages.home import home, home_state
from rheostat.dashboard.pages.job import job, job_state
from rheostat.dashboard.pages.nodes import nodes
from rheostat.dashboard.pages.trial import trial, trial_state
from rheostat.dashboard.pages.what_if import what_if
from rheostat.dashboard.session import add_session
from rheostat.dashboard.sharing import SharedPages, State
from rheostat.dashboard.visit import Page, Surroundings, add_page

TRIALS_CSV = "/jobs/{job_id}/trials.csv"
"""Where a job's page offers its trials; the API exports them."""

_PAGES: tuple[tuple[str, Page, State | None], ...] = (
    ("/", home, home_state),
    ("/jobs/{job_id}", job, job_state),
    ("/jobs/{job_id}/what-if", what_if, None),
    ("/trials/{trial_id}", trial, trial_state),
    ("/nodes", nodes, None),
)
"""Where they are, and what changes with them; None: they are made for each visit."""


def is_page(path: str) -> bool:
    """Return whether a path is that of a page, where a browser may show its token in a cookie."""
    first = path.split("/")[1]
    return any(first == page.split("/")[1] for page, *_ in _PAGES)


def dashboard_router(surroundings: Surroundings) -> APIRouter:
    """Return the routes of the pages."""
    router, shared = APIRouter(), SharedPages()
    for path, page, state in _PAGES:
        add_page(router, path, page if state is None else shared.page(page, state), surroundings)
    add_control(router, "/jobs/{job_id}", surroundings)
    add_session(router, surroundings.site, surroundings.check)
    router.add_api_route(f"{static.ASSETS}/{{name}}", static.answer, methods=["GET", "HEAD"], include_in_schema=False)
    return router
