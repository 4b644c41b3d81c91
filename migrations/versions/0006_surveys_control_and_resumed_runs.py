"""Surveys, an operator's control of a job, runs that go on from earlier ones, and fuller imported runs.

Revision ID: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("control", sa.JSON))
    op.add_column("jobs", sa.Column("judging", sa.JSON))
    op.add_column("placements", sa.Column("surveyed_oom_batch_size", sa.Integer))
    op.add_column("trials", sa.Column("resumes", sa.String(32)))
    op.add_column("trials", sa.Column("started_at_epoch", sa.Double))
    op.add_column("trials", sa.Column("epoch_shift", sa.Double))
    op.add_column("trials", sa.Column("repeated_epochs", sa.Double))
    op.add_column("trials", sa.Column("is_restarted", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("trials", sa.Column("setup_seconds", sa.Double))
    op.add_column("trials", sa.Column("setup_joules", sa.Double))
    op.add_column("trials", sa.Column("first_report", sa.JSON))
    op.add_column("trials", sa.Column("warning", sa.Text))
    op.add_column("trials", sa.Column("first_epoch_at", sa.DateTime(timezone=True)))
    op.add_column("trials", sa.Column("crashed_at", sa.DateTime(timezone=True)))
    op.add_column("trials", sa.Column("is_ordered", sa.Boolean, nullable=False, server_default=sa.false()))
    # Until now all trials began with their first epoch: the next report need not guess that.
    op.execute(
        "UPDATE trials SET started_at_epoch = 0, epoch_shift = 0 WHERE epochs > 0 AND state IN ('running', 'abandoned')"
    )
    carried_on = sa.text("resumes IS NOT NULL")
    op.create_index("ix_trials_resumes", "trials", ["resumes"], postgresql_where=carried_on, sqlite_where=carried_on)
    op.add_column("runs", sa.Column("epochs", sa.Double))
    op.add_column("runs", sa.Column("curve", sa.JSON))
    op.add_column("runs", sa.Column("power_limit_watts", sa.Integer))
    op.add_column("power_measurements", sa.Column("surveyed", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("power_measurements", sa.Column("outcome", sa.String(16)))
