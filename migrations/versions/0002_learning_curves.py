"""What a trial's evaluations came to, which the policy reads while it runs and when it ends.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("trials", sa.Column("curve", sa.JSON))
