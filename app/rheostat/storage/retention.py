"""Deletes reports that are no longer needed.

The estimates need only the outcome, totals and learning curve of a trial that has ended. They are in the trial's own
row. Its last report is kept, so that a trainer that repeats it gets the same answer.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, FromClause, and_, delete, exists, or_, select

from rheostat.storage.engine import Database
from rheostat.storage.tables import observations, trials

_TRIALS_A_STEP = 500


def prune_reports(database: Database, before: datetime) -> int:
    """Delete all reports but the last of each trial that ended, or whose lease expired, before a time.

    Returns:
        The number of deleted reports.
    """
    total = 0
    # In short transactions, so that new reports do not wait long.
    while deleted := database.write(lambda connection: _prune_some(connection, before)):
        total += deleted
    return total


def _prune_some(connection: Connection, before: datetime) -> int:
    over = or_(
        and_(trials.c.state != "running", trials.c.ended_at < before),
        and_(trials.c.state == "running", trials.c.lease_expires_at < before),
    )
    report = observations.alias("report")
    some = select(trials.c.trial_id).where(
        over, exists().where(report.c.trial_id == trials.c.trial_id, _is_not_last(report))
    )
    query = delete(observations).where(
        observations.c.trial_id.in_(some.limit(_TRIALS_A_STEP)), _is_not_last(observations)
    )
    return connection.execute(query).rowcount


def _is_not_last(report: FromClause) -> ColumnElement[bool]:
    later = observations.alias()
    return exists().where(
        later.c.trial_id == report.c.trial_id,
        or_(
            later.c.epoch > report.c.epoch,
            and_(later.c.epoch == report.c.epoch, later.c.observation_pk > report.c.observation_pk),
        ),
    )
