"""The command ``rheostat export``: jobs, trials and reports for spreadsheets and other programs."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain, takewhile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rheostat.cli.admin import DatabaseUrl, NamespaceOption, open_from_settings
from rheostat.cli.words import say_if_none
from rheostat.errors import InvalidInput

if TYPE_CHECKING:
    from rheostat.schemas.fields import Body
    from rheostat.service import Service

_PAGE = 200
_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_OF_TRIAL = ("job_id", "trial_id", "number")
"""What stands before each report."""


class Exported(StrEnum):
    """What is exported."""

    JOBS = "jobs"
    TRIALS = "trials"
    OBSERVATIONS = "observations"


class ExportFormat(StrEnum):
    """How the export is written."""

    CSV = "csv"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class _Record:
    """A model, and the fields before its own that say what it belongs to."""

    model: "Body"
    belongs_to: dict[str, Any] = field(default_factory=dict)


def export(  # noqa: PLR0917 (typer gives all by name)
    what: Annotated[Exported, typer.Argument(help="What to export.")],
    job: Annotated[str | None, typer.Option(help="The job whose trials or observations to export.")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="First day (UTC) of trials, by their beginning. (Default: all.)"),
    ] = None,
    output: Annotated[ExportFormat, typer.Option("--format", help="How to write it.")] = ExportFormat.CSV,
    database_url: DatabaseUrl = None,
    namespace: NamespaceOption = None,
) -> None:
    """Write jobs, the trials of a job, or all reports of its trials to standard output."""
    if (job is None) != (what == Exported.JOBS):
        raise InvalidInput(
            "Trials and observations are exported of one job, and jobs all together.",
            hint="For example: rheostat export trials --job JOB.",
        )
    if what == Exported.JOBS and since is not None:
        raise InvalidInput("Jobs are exported whenever they began.", hint="Leave --since out.")
    with open_from_settings(database_url, namespace=namespace) as service:
        columns, records = _records(service, what, job or "", since or _EVER)
        written = _write_csv(columns, records) if output == ExportFormat.CSV else _write_json(records)
    say_if_none(written, "There is nothing to export.")


def _records(service: "Service", what: Exported, job_id: str, since: datetime) -> "tuple[list[str], Iterator[_Record]]":
    """Return the columns of what is exported, and its records."""
    from rheostat import service as use_cases
    from rheostat.schemas.review import Observation
    from rheostat.schemas.rows import columns_of
    from rheostat.schemas.server import JobDetail
    from rheostat.schemas.trials import TrialDetail, TrialPage
    from rheostat.sdk.frames import all_pages
    from rheostat.service import review

    if what == Exported.JOBS:
        jobs = all_pages(lambda at: use_cases.list_jobs(service, cursor=at, limit=_PAGE), "jobs")
        return columns_of(JobDetail), map(_Record, jobs)

    def page(at: str | None) -> TrialPage:
        return use_cases.list_trials(service, job_id, state=None, cursor=_number(at), limit=_PAGE)

    def reports(trial: TrialDetail) -> Iterator[_Record]:
        names = {name: getattr(trial, name) for name in _OF_TRIAL}
        pages = all_pages(
            lambda at: review.list_observations(service, trial.trial_id, cursor=_number(at), limit=_PAGE),
            "observations",
        )
        return (_Record(report, names) for report in pages)

    # The newest come first.
    trials = takewhile(lambda trial: trial.created_at >= since.replace(tzinfo=UTC), all_pages(page, "trials"))
    if what == Exported.TRIALS:
        return columns_of(TrialDetail), map(_Record, trials)
    return [*_OF_TRIAL, *columns_of(Observation)], chain.from_iterable(map(reports, trials))


def _number(cursor: str | None) -> int | None:
    return None if cursor is None else int(cursor)


def _write_csv(columns: list[str], records: Iterator[_Record]) -> int:
    from rheostat.schemas.rows import csv_lines, row_of

    written = -1  # the line with the columns
    for line in csv_lines(columns, (record.belongs_to | row_of(record.model) for record in records)):
        sys.stdout.write(line)
        written += 1
    return written


def _write_json(records: Iterator[_Record]) -> int:
    """Write an array with a record a line: a job of 100,000 trials is never in memory as a whole."""
    from json import dumps

    written = 0
    for record in records:
        document = record.belongs_to | record.model.model_dump(mode="json")
        sys.stdout.write(f"{',' if written else '['}\n{dumps(document)}")
        written += 1
    sys.stdout.write("\n]\n" if written else "[]\n")
    return written
