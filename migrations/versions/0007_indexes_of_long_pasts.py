"""Indexes for what is asked of a long past with every request, crashes in another form, trials beside an exploration.

Revision ID: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("trials", sa.Column("beside_exploration", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index("ix_trials_placement_pk_batch_size", "trials", ["placement_pk", "batch_size"])
    op.create_index("ix_trials_job_pk_state_number", "trials", ["job_pk", "state", "number"])
    op.create_index(
        "ix_power_measurements_placement_pk_batch_size_sequence",
        "power_measurements",
        ["placement_pk", "batch_size", "sequence"],
    )
    op.create_index(
        "ix_power_measurements_placement_pk_power_limit_watts",
        "power_measurements",
        ["placement_pk", "batch_size", "power_limit_watts", "sequence"],
    )
    op.drop_index("ix_power_measurements_placement_pk_batch_size", "power_measurements")
    # They are derived from the trials again, under another name.
    op.execute("DELETE FROM policy_states WHERE part = 'crashes'")
