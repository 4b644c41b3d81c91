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
    _sum_energy()


def _sum_energy() -> None:
    """Make the sums of each placement's energy that every further run is added to."""
    found = op.get_bind().execute(sa.text(_SUMS)).all()
    sums: dict[int, dict[str, list[float]]] = {}
    for placement_pk, batch_size, joules, seconds, metered, estimated in found:
        sums.setdefault(placement_pk, {})[str(batch_size)] = [joules, seconds, metered, estimated]
    states = sa.table("policy_states", sa.column("placement_pk"), sa.column("part"), sa.column("state", sa.JSON))
    rows = [{"placement_pk": pk, "part": "energy", "state": state} for pk, state in sums.items()]
    if rows:
        op.bulk_insert(states, rows)


_SUMS = """
    SELECT placement_pk, batch_size,
        CAST(SUM(CASE WHEN energy_joules > 0 AND time_seconds > 0 THEN energy_joules ELSE 0.0 END) AS double precision),
        CAST(SUM(CASE WHEN energy_joules > 0 AND time_seconds > 0 THEN time_seconds ELSE 0.0 END) AS double precision),
        CAST(SUM(CASE WHEN energy_joules > 0 AND time_seconds > 0 THEN 1 ELSE 0 END) AS integer),
        CAST(SUM(CASE WHEN energy_joules IS NULL AND time_seconds > 0 THEN 1 ELSE 0 END) AS integer)
    FROM (
        SELECT placement_pk, batch_size, energy_joules, time_seconds FROM trials WHERE sequence IS NOT NULL
        UNION ALL
        SELECT placement_pk, batch_size, energy_joules, time_seconds FROM runs
    ) AS evidence
    GROUP BY placement_pk, batch_size
"""
