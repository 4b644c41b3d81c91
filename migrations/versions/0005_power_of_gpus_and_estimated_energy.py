"""GPUs whose limits are unknown or bounded, energy that is partly estimated, and keys of measurements.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    with op.batch_alter_table("placements") as placements:
        placements.alter_column("min_power_limit_watts", existing_type=sa.Integer, nullable=True)
        placements.alter_column("max_power_limit_watts", existing_type=sa.Integer, nullable=True)
        placements.add_column(sa.Column("power_scope", sa.String(16), nullable=False, server_default=""))
        placements.add_column(sa.Column("power_profile", sa.String(128), nullable=False, server_default=""))
        placements.add_column(sa.Column("nominal_power_watts", sa.Integer))
        placements.drop_constraint("uq_placements_job_pk_gpu_model_gpu_count", type_="unique")
        placements.create_unique_constraint(
            "uq_placements_gpu", ["job_pk", "gpu_model", "gpu_count", "power_scope", "power_profile"]
        )
    op.add_column("trials", sa.Column("gpu", sa.JSON))
    op.add_column("trials", sa.Column("metered_joules", sa.Double))
    op.add_column("trials", sa.Column("metered_from_seconds", sa.Double))
    op.add_column("trials", sa.Column("metered_to_seconds", sa.Double))
    op.add_column("trials", sa.Column("energy_estimate", sa.Text))
    op.add_column("observations", sa.Column("energy_known_from_seconds", sa.Double))
    op.add_column("power_measurements", sa.Column("idempotency_key", sa.String(128)))
    op.create_index(
        "ix_power_measurements_placement_pk_idempotency_key", "power_measurements", ["placement_pk", "idempotency_key"]
    )
