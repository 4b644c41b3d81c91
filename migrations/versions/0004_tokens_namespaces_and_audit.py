"""Tokens, namespaces of jobs, and the trail of who changed what.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

row_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    # On SQLite this copies the table, for which `rheostat.storage.migrations` has turned off foreign keys: or the
    # old table's end would take everything below the jobs with it.
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("namespace", sa.String(64), nullable=False, server_default="default"))
        jobs.drop_constraint("uq_jobs_job_id", type_="unique")
        jobs.create_unique_constraint("uq_jobs_namespace_job_id", ["namespace", "job_id"])
    op.create_table(
        "tokens",
        sa.Column("token_id", sa.String(12), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("scopes", sa.String(64), nullable=False),
        sa.Column("namespace", sa.String(64)),
        sa.Column("secret_sha256", sa.String(64), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment),
        sa.Column("revoked_at", moment),
        sa.Column("last_used_at", moment),
        sa.PrimaryKeyConstraint("token_id", name="pk_tokens"),
    )
    op.create_table(
        "audit",
        sa.Column("audit_pk", row_id, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("namespace", sa.String(64)),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(128), nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("audit_pk", name="pk_audit"),
    )
    op.create_index("ix_audit_namespace_audit_pk", "audit", ["namespace", "audit_pk"])
