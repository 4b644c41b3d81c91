"""Tags of trials, what each was predicted to cost when it began, its nodes; and which GPUs are simulated.

Revision ID: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("trials", sa.Column("tags", sa.JSON))
    are_there = sa.text("tags IS NOT NULL")
    op.create_index(
        "ix_trials_tagged", "trials", ["job_pk", "number"], postgresql_where=are_there, sqlite_where=are_there
    )
    has_node = sa.text("node IS NOT NULL")
    op.create_index(
        "ix_trials_node", "trials", ["node", "created_at"], postgresql_where=has_node, sqlite_where=has_node
    )
    op.add_column("trials", sa.Column("predicted_cost", sa.JSON))
    op.add_column("trials", sa.Column("nodes", sa.JSON))
    op.add_column("placements", sa.Column("is_simulated", sa.Boolean, nullable=False, server_default=sa.false()))
