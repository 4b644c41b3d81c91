"""What need not be kept for ever.

Of a trial that has ended the estimates need its end, its totals and its learning curve, which all stand in its own
row: its reports have been folded into them. Only its last report is kept, so that a trainer that sends it again gets
the same answer.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, FromClause, and_, delete, exists, or_, select

from rheostat.storage.tables import observations, trials

_TRIALS_A_STEP = 500


def prune_reports(connection: Connection, before: datetime) -> int:
    """Delete the reports, but for the last, of some trials that ended before a moment.

    Returns:
        How many were deleted; 0 when there are none left.
    """
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
