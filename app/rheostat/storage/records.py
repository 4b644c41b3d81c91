"""Frozen values that leave storage: one a row, with the row's column names."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rheostat.policy.advisor import Outcome
from rheostat.policy.interface import TrialState


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job; ``settings`` and ``registered_settings`` are the wire's ``JobSettings`` as plain JSON.

    ``version`` is another one after every change of the job or of anything below it.
    """

    job_pk: int
    namespace: str
    job_id: str
    settings: dict[str, Any]
    registered_settings: dict[str, Any]
    seed: int
    next_trial_number: int
    next_sequence: int
    created_at: datetime
    updated_at: datetime
    version: int


@dataclass(frozen=True, slots=True)
class PlacementRecord:
    """A GPU model and count that a job ran on; the limits are of one GPU."""

    placement_pk: int
    job_pk: int
    gpu_model: str
    gpu_count: int
    min_power_limit_watts: int
    max_power_limit_watts: int
    smallest_oom_batch_size: int | None


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """A trial.

    ``sequence`` is its place among the job's conclusions, None while it has none; ``curve`` is its
    :class:`rheostat.policy.learning_curve.LearningCurve` as plain JSON, None before its first evaluation.
    """

    trial_id: str
    job_pk: int
    placement_pk: int
    number: int
    idempotency_key: str | None
    node: str | None
    batch_size: int
    learning_rate: float | None
    power_limit_watts: int | None
    profile_power_limits_watts: list[int]
    reason: str
    state: TrialState
    state_reason: str
    epochs: float | None
    metric: float | None
    energy_joules: float | None
    time_seconds: float | None
    curve: dict[str, Any] | None
    sequence: int | None
    created_at: datetime
    lease_expires_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class ObservationRecord:
    """A report of a trial, and what was answered; ``closing`` when the trainer ended the run with it."""

    trial_id: str
    epoch: float
    closing: bool
    metric: float | None
    energy_joules: float | None
    time_seconds: float | None
    outcome: Outcome | None
    received_at: datetime
    answered_state: TrialState
    answered_reason: str
    answered_power_limit_watts: int | None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A whole run that no trial stands for; ``cost`` only when it was given instead of energy and time."""

    run_id: str
    job_pk: int
    placement_pk: int
    idempotency_key: str | None
    batch_size: int
    cost: float | None
    energy_joules: float | None
    time_seconds: float | None
    converged: bool | None
    sequence: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class PowerMeasurementRecord:
    """A measured power limit, as it was reported."""

    placement_pk: int
    batch_size: int
    power_limit_watts: int
    time_seconds: float | None
    energy_joules: float | None
    steps: float | None
    steps_per_epoch: float | None
    cost: float | None
    sequence: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over those runs of a placement of which the same figures are known; None for an unknown one.

    ``cost`` sums what was given as a cost instead of energy and time.
    """

    runs: int
    epochs: float | None
    energy_joules: float | None
    time_seconds: float | None
    cost: float | None


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """A token, without its secret: only the secret's SHA-256 is kept; ``namespace`` None: it is bound to none."""

    token_id: str
    name: str
    scopes: str
    namespace: str | None
    secret_sha256: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Who changed what, when; ``namespace`` None: it concerns the whole server."""

    audit_pk: int
    at: datetime
    namespace: str | None
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
