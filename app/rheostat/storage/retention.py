"""Deletes reports that are no longer needed.

The estimates need only the outcome, totals and learning curve of a trial that has ended. They are in the trial's own
row. Its last report is kept, so that a trainer that repeats it gets the same answer.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Row, Select, and_, delete, exists, func, or_, select

from rheostat.storage.steps import Steps
from rheostat.storage.tables import observations, trials

_LOOKED_AT = 2000
"""Reports of which one query finds out whether they are needed; it locks nothing."""


def prune_reports(steps: Steps, before: datetime) -> None:
    """Delete all reports but the last of each trial that ended, or whose lease expired, before a time.

    It goes through the reports once, in the order of their keys, as far as the newest at the start. What is found
    needless stays so: a report that comes later makes no earlier one the last.

    Raises:
        Unavailable: The database cannot be read or written.
    """
    first, last = steps.database.read(_range)
    at = first - 1
    while at < last and not steps.is_stopped:
        looked_at = steps.database.read(partial(_look, after=at, before=before))
        needless = [report.observation_pk for report in looked_at if report.is_needless]
        while needless and not steps.is_stopped:
            some, needless = needless[: steps.rows], needless[steps.rows :]
            steps.take(partial(_delete, keys=some))
            steps.show(share=(some[-1] - first) / (last - first))
        at = looked_at[-1].observation_pk if looked_at else last


def _range(connection: Connection) -> tuple[int, int]:
    key = observations.c.observation_pk  # in one query SQLite would look at all rows
    first, last = (connection.scalar(select(extreme(key))) for extreme in (func.min, func.max))
    return first or 0, last or 0


def _look(connection: Connection, *, after: int, before: datetime) -> Sequence[Row[Any]]:
    """Return the next reports in the order of their keys, each with whether it is needless."""
    return connection.execute(_reports(after, before)).all()


def _reports(after: int, before: datetime) -> Select[Any]:
    key = observations.c.observation_pk
    page = select(observations).where(key > after).order_by(key).limit(_LOOKED_AT).subquery("report")
    is_over = or_(
        and_(trials.c.state != "running", trials.c.ended_at < before),
        and_(trials.c.state == "running", trials.c.lease_expires_at < before),
    )
    return (
        select(page.c.observation_pk, and_(is_over, _is_not_last(page)).label("is_needless"))
        .join_from(page, trials, trials.c.trial_id == page.c.trial_id)
        .order_by(page.c.observation_pk)
    )


def _is_not_last(report: FromClause) -> ColumnElement[bool]:
    """Return whether a trial has a later report; each half is one look into the index of a trial's epochs."""
    later, same = observations.alias(), observations.alias()
    last_epoch = select(func.max(later.c.epoch)).where(later.c.trial_id == report.c.trial_id).scalar_subquery()
    return or_(
        report.c.epoch < last_epoch,
        exists().where(
            same.c.trial_id == report.c.trial_id,
            same.c.epoch == report.c.epoch,
            same.c.observation_pk > report.c.observation_pk,
        ),
    )


def _delete(connection: Connection, *, keys: Sequence[int]) -> int:
    return connection.execute(delete(observations).where(observations.c.observation_pk.in_(keys))).rowcount
