"""Jobs, their placements and policy states, trials, observations, runs and power measurements.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

row_id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
moment = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("job_pk", row_id, nullable=False),
        sa.Column("job_id", sa.String(128), nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("registered_settings", sa.JSON, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("next_trial_number", sa.BigInteger, nullable=False),
        sa.Column("next_sequence", sa.BigInteger, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("job_pk", name="pk_jobs"),
        sa.UniqueConstraint("job_id", name="uq_jobs_job_id"),
    )
    op.create_table(
        "placements",
        sa.Column("placement_pk", row_id, nullable=False),
        sa.Column("job_pk", row_id, nullable=False),
        sa.Column("gpu_model", sa.String(128), nullable=False),
        sa.Column("gpu_count", sa.Integer, nullable=False),
        sa.Column("min_power_limit_watts", sa.Integer, nullable=False),
        sa.Column("max_power_limit_watts", sa.Integer, nullable=False),
        sa.Column("smallest_oom_batch_size", sa.Integer),
        sa.PrimaryKeyConstraint("placement_pk", name="pk_placements"),
        sa.ForeignKeyConstraint(["job_pk"], ["jobs.job_pk"], name="fk_placements_job_pk_jobs", ondelete="CASCADE"),
        sa.UniqueConstraint("job_pk", "gpu_model", "gpu_count", name="uq_placements_job_pk_gpu_model_gpu_count"),
    )
    op.create_table(
        "policy_states",
        sa.Column("placement_pk", row_id, nullable=False),
        sa.Column("part", sa.String(32), nullable=False),
        sa.Column("state", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("placement_pk", "part", name="pk_policy_states"),
        sa.ForeignKeyConstraint(
            ["placement_pk"],
            ["placements.placement_pk"],
            name="fk_policy_states_placement_pk_placements",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "trials",
        sa.Column("trial_id", sa.String(32), nullable=False),
        sa.Column("job_pk", row_id, nullable=False),
        sa.Column("placement_pk", row_id, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("idempotency_key", sa.String(128)),
        sa.Column("node", sa.String(128)),
        sa.Column("batch_size", sa.Integer, nullable=False),
        sa.Column("learning_rate", sa.Double),
        sa.Column("power_limit_watts", sa.Integer),
        sa.Column("profile_power_limits_watts", sa.JSON, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("state_reason", sa.Text, nullable=False),
        sa.Column("epochs", sa.Double),
        sa.Column("metric", sa.Double),
        sa.Column("energy_joules", sa.Double),
        sa.Column("time_seconds", sa.Double),
        sa.Column("sequence", sa.BigInteger),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("lease_expires_at", moment, nullable=False),
        sa.Column("ended_at", moment),
        sa.PrimaryKeyConstraint("trial_id", name="pk_trials"),
        sa.ForeignKeyConstraint(["job_pk"], ["jobs.job_pk"], name="fk_trials_job_pk_jobs", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["placement_pk"],
            ["placements.placement_pk"],
            name="fk_trials_placement_pk_placements",
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint("job_pk", "number", name="uq_trials_job_pk_number"),
        sa.UniqueConstraint("job_pk", "idempotency_key", name="uq_trials_job_pk_idempotency_key"),
        sa.CheckConstraint(
            "state IN ('running', 'converged', 'failed', 'stopped', 'oom', 'cancelled', 'abandoned')",
            name="ck_trials_state",
        ),
    )
    op.create_index("ix_trials_placement_pk_sequence", "trials", ["placement_pk", "sequence"])
    running = sa.text("state = 'running'")
    op.create_index("ix_trials_running", "trials", ["job_pk"], postgresql_where=running, sqlite_where=running)
    op.create_table(
        "observations",
        sa.Column("observation_pk", row_id, nullable=False),
        sa.Column("trial_id", sa.String(32), nullable=False),
        sa.Column("epoch", sa.Double, nullable=False),
        sa.Column("closing", sa.Boolean, nullable=False),
        sa.Column("metric", sa.Double),
        sa.Column("energy_joules", sa.Double),
        sa.Column("time_seconds", sa.Double),
        sa.Column("outcome", sa.String(16)),
        sa.Column("received_at", moment, nullable=False),
        sa.Column("answered_state", sa.String(16), nullable=False),
        sa.Column("answered_reason", sa.Text, nullable=False),
        sa.Column("answered_power_limit_watts", sa.Integer),
        sa.PrimaryKeyConstraint("observation_pk", name="pk_observations"),
        sa.ForeignKeyConstraint(
            ["trial_id"], ["trials.trial_id"], name="fk_observations_trial_id_trials", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("trial_id", "epoch", "closing", name="uq_observations_trial_id_epoch_closing"),
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(32), nullable=False),
        sa.Column("job_pk", row_id, nullable=False),
        sa.Column("placement_pk", row_id, nullable=False),
        sa.Column("idempotency_key", sa.String(128)),
        sa.Column("batch_size", sa.Integer, nullable=False),
        sa.Column("cost", sa.Double),
        sa.Column("energy_joules", sa.Double),
        sa.Column("time_seconds", sa.Double),
        sa.Column("converged", sa.Boolean),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("received_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
        sa.ForeignKeyConstraint(["job_pk"], ["jobs.job_pk"], name="fk_runs_job_pk_jobs", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["placement_pk"],
            ["placements.placement_pk"],
            name="fk_runs_placement_pk_placements",
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint("job_pk", "idempotency_key", name="uq_runs_job_pk_idempotency_key"),
    )
    op.create_index("ix_runs_placement_pk_sequence", "runs", ["placement_pk", "sequence"])
    op.create_table(
        "power_measurements",
        sa.Column("power_measurement_pk", row_id, nullable=False),
        sa.Column("placement_pk", row_id, nullable=False),
        sa.Column("batch_size", sa.Integer, nullable=False),
        sa.Column("power_limit_watts", sa.Integer, nullable=False),
        sa.Column("time_seconds", sa.Double),
        sa.Column("energy_joules", sa.Double),
        sa.Column("steps", sa.Double),
        sa.Column("steps_per_epoch", sa.Double),
        sa.Column("cost", sa.Double),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("received_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("power_measurement_pk", name="pk_power_measurements"),
        sa.ForeignKeyConstraint(
            ["placement_pk"],
            ["placements.placement_pk"],
            name="fk_power_measurements_placement_pk_placements",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_power_measurements_placement_pk_sequence", "power_measurements", ["placement_pk", "sequence"])
    op.create_index(
        "ix_power_measurements_placement_pk_batch_size", "power_measurements", ["placement_pk", "batch_size"]
    )
