"""The command ``rheostat savings``: the savings report, for people and for other programs."""

import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rheostat.cli.admin import DatabaseUrl, NamespaceOption, open_from_settings
from rheostat.cli.words import say_if_none

if TYPE_CHECKING:
    from rheostat.dashboard.site import Site
    from rheostat.schemas.report import JobReport
    from rheostat.service import Service

_FIGURES = ("energy_joules", "time_seconds", "cost")
_PLACEMENT = ("job_id", "gpu_model", "gpu_count", "converged_runs")
_COLUMNS = ("actual", "baseline", "saved", "saved_low", "saved_high", "saved_percent", "origin", "method")
_BOUNDS = ("", "_low", "_high")


class Format(StrEnum):
    """How the report is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    HTML = "html"


def savings(
    job: Annotated[list[str] | None, typer.Option(help="Only this job. Repeatable. (Default: all.)")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day (UTC) whose runs count. (Default: all.)")
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.TABLE,
    database_url: DatabaseUrl = None,
    namespace: NamespaceOption = None,
) -> None:
    """Report what was saved against always running the default batch size at the highest power limit.

    Money and emissions need the price and the carbon intensity of electricity: RHEOSTAT_ELECTRICITY_PRICE_PER_KWH with
    RHEOSTAT_CURRENCY, and RHEOSTAT_CARBON_GRAMS_PER_KWH.
    """
    from rheostat.api.app import site_of
    from rheostat.api.settings import load_settings
    from rheostat.service.operations import database_place

    site = site_of(load_settings(database_url=database_url))
    first_day = None if since is None else since.date()
    with open_from_settings(database_url, namespace=namespace) as service:
        reports = list(_reports(service, job, first_day))
        say_if_none(len(reports), f"There are no jobs in {database_place(service)}.")
    _WRITE[output](reports, site, first_day)


def _reports(service: "Service", job_ids: Sequence[str] | None, since: date | None) -> "Iterator[JobReport]":
    from rheostat.service import review

    if job_ids:
        yield from (review.job_report(service, job_id, since=since) for job_id in job_ids)
        return
    cursor = None
    while True:
        page = review.list_reports(service, since=since, cursor=cursor, limit=200)
        yield from page.jobs
        cursor = page.next_cursor
        if cursor is None:
            return


def _rows(reports: "Sequence[JobReport]", site: "Site") -> Iterator[dict[str, Any]]:
    """Return a row for each placement of each job."""
    for report in reports:
        for placement in report.placements:
            gpu = placement.gpu
            row = dict(zip(_PLACEMENT, (report.job_id, gpu.model, gpu.count, placement.converged_runs), strict=True))
            for name in _FIGURES:
                figure = getattr(placement, name)
                row |= {f"{name}_{column}": getattr(figure, column) for column in _COLUMNS}
            for name, of_joules in _priced(site).items():
                row |= {name + end: of_joules(getattr(placement.energy_joules, f"saved{end}")) for end in _BOUNDS}
            yield row


def _priced(site: "Site") -> dict[str, Callable[[float | None], float | None]]:
    """Return what an energy is worth in the units that the site has a price for, by the column's name."""
    priced: dict[str, Callable[[float | None], float | None]] = {}
    if site.price_per_kwh is not None:
        priced[f"saved_{site.currency}"] = site.price
    if site.carbon_grams_per_kwh is not None:
        priced["saved_grams_co2e"] = site.carbon_grams
    return priced


def _write_csv(reports: "Sequence[JobReport]", site: "Site", since: date | None) -> None:
    from rheostat.schemas.rows import csv_lines

    columns = [
        *_PLACEMENT,
        *(f"{figure}_{column}" for figure in _FIGURES for column in _COLUMNS),
        *(name + end for name in _priced(site) for end in _BOUNDS),
    ]
    sys.stdout.writelines(csv_lines(columns, _rows(reports, site)))


def _write_json(reports: "Sequence[JobReport]", site: "Site", since: date | None) -> None:
    from json import dumps

    document = {
        "since": None if since is None else since.isoformat(),
        "electricity_price_per_kwh": site.price_per_kwh,
        "currency": site.currency or None,
        "carbon_grams_per_kwh": site.carbon_grams_per_kwh,
        "jobs": [report.model_dump(mode="json") for report in reports],
    }
    typer.echo(dumps(document, indent=2))


def _write_table(reports: "Sequence[JobReport]", site: "Site", since: date | None) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from rheostat.dashboard.views.report import basis, report_rows
    from rheostat.dashboard.views.savings import tiles
    from rheostat.dashboard.words import UNKNOWN

    if not reports:
        return
    table = Table(title=None if since is None else f"Since {since}")
    for heading in ("job and GPU", "runs", "energy", "time", "cost"):
        table.add_column(heading, justify="left" if heading == "job and GPU" else "right", overflow="fold")
    for row in report_rows(reports):
        interval = row.interval if row.interval == UNKNOWN else f"95 %: {row.interval}"
        wrapped = interval.replace(" more to ", " more\nto ")
        energy = dict.fromkeys([row.energy_percent, row.energy, wrapped, row.origin])
        table.add_row(
            f"{row.job_id}\n{escape(row.gpu)}",
            str(row.runs),
            "\n".join(energy),
            row.time_percent,
            row.cost_percent,
            end_section=True,
        )
    console = Console(highlight=False)
    console.print(table)
    for tile in tiles(reports, site):
        console.print(f"{tile.heading}: {tile.value} ({tile.detail})", markup=False)
    console.print(basis(reports), markup=False)


def _write_html(reports: "Sequence[JobReport]", site: "Site", since: date | None) -> None:
    from rheostat.dashboard.report import report_page

    typer.echo(report_page(reports, site, since=since, now=datetime.now(UTC)))


_WRITE: dict[Format, Callable[["Sequence[JobReport]", "Site", date | None], None]] = {
    Format.TABLE: _write_table,
    Format.CSV: _write_csv,
    Format.JSON: _write_json,
    Format.HTML: _write_html,
}
