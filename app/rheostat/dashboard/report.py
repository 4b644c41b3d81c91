"""The savings report as one HTML file that can be sent: it loads nothing."""

from collections.abc import Sequence
from datetime import date, datetime

from rheostat.dashboard.site import Site
from rheostat.dashboard.static import FOLDER
from rheostat.dashboard.views.report import basis, report_rows
from rheostat.dashboard.views.savings import tiles
from rheostat.dashboard.visit import TEMPLATES
from rheostat.schemas.report import JobReport


def report_page(reports: Sequence[JobReport], site: Site, *, since: date | None, now: datetime) -> str:
    """Return the report.

    Args:
        reports: What each job saved.
        site: The prices.
        since: The first day whose runs count; None: all do.
        now: When it is made.
    """
    return TEMPLATES.get_template("report.html").render(
        site=site,
        since=since,
        now=now,
        tiles=tiles(reports, site),
        basis=basis(reports),
        rows=report_rows(reports),
        style=(FOLDER / "dashboard.css").read_text(encoding="utf-8"),
    )
