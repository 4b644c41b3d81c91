"""The command ``rheostat export``: jobs, trials and reports as CSV."""

import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rheostat.cli.admin import DatabaseUrl, NamespaceOption, open_from_settings
from rheostat.errors import InvalidInput

if TYPE_CHECKING:
    from rheostat.service import Service

_PAGE = 200


class Exported(StrEnum):
    """What is exported."""

    JOBS = "jobs"
    TRIALS = "trials"
    OBSERVATIONS = "observations"


def export(
    what: Annotated[Exported, typer.Argument(help="What to export.")],
    job: Annotated[str | None, typer.Option(help="The job whose trials or observations to export.")] = None,
    database_url: DatabaseUrl = None,
    namespace: NamespaceOption = None,
) -> None:
    """Write jobs, the trials of a job, or all reports of its trials as CSV to standard output."""
    if (job is None) != (what == Exported.JOBS):
        raise InvalidInput(
            "Trials and observations are exported of one job, and jobs all together.",
            hint="For example: rheostat export trials --job JOB.",
        )
    with open_from_settings(database_url, namespace=namespace) as service:
        _write(_rows(service, what, job or ""))


def _rows(service: "Service", what: Exported, job_id: str) -> Iterator[dict[str, Any]]:
    from rheostat import service as use_cases
    from rheostat.schemas.rows import row_of
    from rheostat.sdk.frames import all_pages
    from rheostat.service import review

    if what == Exported.JOBS:
        yield from map(row_of, all_pages(lambda at: use_cases.list_jobs(service, cursor=at, limit=_PAGE), "jobs"))
        return
    trials = all_pages(
        lambda at: use_cases.list_trials(
            service, job_id, state=None, cursor=None if at is None else int(at), limit=_PAGE
        ),
        "trials",
    )
    for trial in trials:
        if what == Exported.TRIALS:
            yield row_of(trial)
            continue
        names = {name: getattr(trial, name) for name in ("job_id", "trial_id", "number")}

        def reports(at: str | None, trial_id: str = names["trial_id"]) -> Any:
            cursor = None if at is None else int(at)
            return review.list_observations(service, trial_id, cursor=cursor, limit=_PAGE)

        yield from (names | row_of(one) for one in all_pages(reports, "observations"))


def _write(rows: Iterable[dict[str, Any]]) -> None:
    from rheostat.schemas.rows import csv_lines

    remaining = iter(rows)
    first = next(remaining, None)
    if first is None:
        typer.echo("There is nothing to export.", err=True)
        return
    sys.stdout.writelines(csv_lines(list(first), chain([first], remaining)))
