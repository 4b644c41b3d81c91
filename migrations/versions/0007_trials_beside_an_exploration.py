"""Trials that run beside an exploration, and are no part of it.

Revision ID: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("trials", sa.Column("beside_exploration", sa.Boolean, nullable=False, server_default=sa.false()))
