"""The tables. `migrations/versions` creates them; a test checks that the two agree.

Raw observations (``observations``, ``runs``, ``power_measurements``, and the outcomes of trials) are the source of
truth. ``policy_states`` is derived from them by a fold in the order of ``sequence``, which numbers a job's conclusions
and measurements. Costs are stored only where a caller gave no energy and time: all others follow from these and from
the job's knobs. ``jobs.version`` is a random number that changes with the job and with any row below it.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    text,
)

VERSION_TABLE = "rheostat_schema_version"
"""Not Alembic's default, `alembic_version`: in a shared database that table may belong to another program."""

DELETED = "/deleted"
"""The namespace of deleted jobs until their rows are gone; no request can name it. Whatever reads across namespaces
leaves it out."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC, timezone-aware in Python on every database (SQLite stores no time zone)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Convert to UTC, without a time zone for SQLite."""
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC."""
        if value is None:
            return None
        assert isinstance(value, datetime)
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite generates row ids only for INTEGER PRIMARY KEY.
RowId = BigInteger().with_variant(Integer, "sqlite")

jobs = Table(
    "jobs",
    metadata,
    Column("job_pk", RowId, primary_key=True),
    # The default serves replicas of the previous version, which still write during a rolling upgrade.
    Column("namespace", String(64), nullable=False, server_default="default"),
    Column("job_id", String(128), nullable=False),
    Column("settings", JSON, nullable=False),
    Column("registered_settings", JSON, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("next_trial_number", BigInteger, nullable=False),
    Column("next_sequence", BigInteger, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("version", BigInteger, nullable=False, server_default="0"),
    Column("control", JSON(none_as_null=True)),
    Column("judging", JSON(none_as_null=True)),
    UniqueConstraint("namespace", "job_id"),
)

placements = Table(
    "placements",
    metadata,
    Column("placement_pk", RowId, primary_key=True),
    Column("job_pk", ForeignKey("jobs.job_pk", ondelete="CASCADE"), nullable=False),
    Column("gpu_model", String(128), nullable=False),
    Column("gpu_count", Integer, nullable=False),
    Column("min_power_limit_watts", Integer),
    Column("max_power_limit_watts", Integer),
    Column("smallest_oom_batch_size", Integer),
    # Not null, so that the constraint below counts them as equal.
    Column("power_scope", String(16), nullable=False, server_default=""),
    Column("power_profile", String(128), nullable=False, server_default=""),
    Column("nominal_power_watts", Integer),
    Column("surveyed_oom_batch_size", Integer),
    Column("is_simulated", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("job_pk", "gpu_model", "gpu_count", "power_scope", "power_profile", name="uq_placements_gpu"),
)

policy_states = Table(
    "policy_states",
    metadata,
    Column("placement_pk", ForeignKey("placements.placement_pk", ondelete="CASCADE"), primary_key=True),
    Column("part", String(32), primary_key=True),
    Column("state", JSON, nullable=False),
)

trials = Table(
    "trials",
    metadata,
    Column("trial_id", String(32), primary_key=True),
    Column("job_pk", ForeignKey("jobs.job_pk", ondelete="CASCADE"), nullable=False),
    Column("placement_pk", ForeignKey("placements.placement_pk", ondelete="CASCADE"), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("idempotency_key", String(128)),
    Column("node", String(128)),
    Column("batch_size", Integer, nullable=False),
    Column("learning_rate", Double),
    Column("power_limit_watts", Integer),
    Column("profile_power_limits_watts", JSON, nullable=False),
    Column("gpu", JSON(none_as_null=True)),
    Column("reason", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("state_reason", Text, nullable=False),
    Column("epochs", Double),
    Column("metric", Double),
    Column("energy_joules", Double),
    Column("metered_joules", Double),
    Column("metered_from_seconds", Double),
    Column("metered_to_seconds", Double),
    Column("energy_estimate", Text),
    Column("time_seconds", Double),
    Column("curve", JSON(none_as_null=True)),
    Column("sequence", BigInteger),
    Column("created_at", UtcDateTime, nullable=False),
    Column("lease_expires_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("resumes", String(32)),
    Column("started_at_epoch", Double),
    Column("epoch_shift", Double),
    Column("repeated_epochs", Double),
    Column("is_restarted", Boolean, nullable=False, server_default=false()),
    Column("setup_seconds", Double),
    Column("setup_joules", Double),
    Column("first_report", JSON(none_as_null=True)),
    Column("warning", Text),
    Column("first_epoch_at", UtcDateTime),
    Column("crashed_at", UtcDateTime),
    Column("is_ordered", Boolean, nullable=False, server_default=false()),
    Column("beside_exploration", Boolean, nullable=False, server_default=false()),
    Column("tags", JSON(none_as_null=True)),
    Column("predicted_cost", JSON(none_as_null=True)),
    Column("nodes", JSON(none_as_null=True)),
    UniqueConstraint("job_pk", "number"),
    UniqueConstraint("job_pk", "idempotency_key"),
    CheckConstraint(
        "state IN ('running', 'converged', 'failed', 'stopped', 'oom', 'cancelled', 'abandoned')",
        name="state",
    ),
    Index("ix_trials_placement_pk_sequence", "placement_pk", "sequence"),
    Index("ix_trials_placement_pk_batch_size", "placement_pk", "batch_size"),
    Index("ix_trials_job_pk_state_number", "job_pk", "state", "number"),
    Index(
        "ix_trials_resumes",
        "resumes",
        postgresql_where=text("resumes IS NOT NULL"),
        sqlite_where=text("resumes IS NOT NULL"),
    ),
    Index(
        "ix_trials_node",
        "node",
        "created_at",
        postgresql_where=text("node IS NOT NULL"),
        sqlite_where=text("node IS NOT NULL"),
    ),
    Index(
        "ix_trials_tagged",
        "job_pk",
        "number",
        postgresql_where=text("tags IS NOT NULL"),
        sqlite_where=text("tags IS NOT NULL"),
    ),
    Index(
        "ix_trials_running",
        "job_pk",
        postgresql_where=text("state = 'running'"),
        sqlite_where=text("state = 'running'"),
    ),
)

observations = Table(
    "observations",
    metadata,
    Column("observation_pk", RowId, primary_key=True),
    Column("trial_id", ForeignKey("trials.trial_id", ondelete="CASCADE"), nullable=False),
    Column("epoch", Double, nullable=False),
    Column("closing", Boolean, nullable=False),
    Column("metric", Double),
    Column("energy_joules", Double),
    Column("energy_known_from_seconds", Double),
    Column("time_seconds", Double),
    Column("outcome", String(16)),
    Column("received_at", UtcDateTime, nullable=False),
    Column("answered_state", String(16), nullable=False),
    Column("answered_reason", Text, nullable=False),
    Column("answered_power_limit_watts", Integer),
    UniqueConstraint("trial_id", "epoch", "closing"),
)

runs = Table(
    "runs",
    metadata,
    Column("run_id", String(32), primary_key=True),
    Column("job_pk", ForeignKey("jobs.job_pk", ondelete="CASCADE"), nullable=False),
    Column("placement_pk", ForeignKey("placements.placement_pk", ondelete="CASCADE"), nullable=False),
    Column("idempotency_key", String(128)),
    Column("batch_size", Integer, nullable=False),
    Column("cost", Double),
    Column("energy_joules", Double),
    Column("time_seconds", Double),
    Column("converged", Boolean),
    Column("sequence", BigInteger, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("epochs", Double),
    Column("curve", JSON(none_as_null=True)),
    Column("power_limit_watts", Integer),
    UniqueConstraint("job_pk", "idempotency_key"),
    Index("ix_runs_placement_pk_sequence", "placement_pk", "sequence"),
)

power_measurements = Table(
    "power_measurements",
    metadata,
    Column("power_measurement_pk", RowId, primary_key=True),
    Column("placement_pk", ForeignKey("placements.placement_pk", ondelete="CASCADE"), nullable=False),
    Column("batch_size", Integer, nullable=False),
    Column("power_limit_watts", Integer, nullable=False),
    Column("time_seconds", Double),
    Column("energy_joules", Double),
    Column("steps", Double),
    Column("steps_per_epoch", Double),
    Column("cost", Double),
    Column("sequence", BigInteger, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("idempotency_key", String(128)),
    Column("surveyed", Boolean, nullable=False, server_default=false()),
    Column("outcome", String(16)),
    Index("ix_power_measurements_placement_pk_sequence", "placement_pk", "sequence"),
    Index("ix_power_measurements_placement_pk_batch_size_sequence", "placement_pk", "batch_size", "sequence"),
    Index(
        "ix_power_measurements_placement_pk_power_limit_watts",
        "placement_pk",
        "batch_size",
        "power_limit_watts",
        "sequence",
    ),
    Index("ix_power_measurements_placement_pk_idempotency_key", "placement_pk", "idempotency_key"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("token_id", String(12), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("scopes", String(64), nullable=False),
    Column("namespace", String(64)),
    Column("secret_sha256", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
)

audit = Table(
    "audit",
    metadata,
    Column("audit_pk", RowId, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("namespace", String(64)),
    Column("actor", String(200), nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("details", JSON, nullable=False),
    Index("ix_audit_namespace_audit_pk", "namespace", "audit_pk"),
)
