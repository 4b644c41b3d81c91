"""A version of each job, which is another one after every change of it or of what is below it.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("version", sa.BigInteger, nullable=False, server_default="0"))
