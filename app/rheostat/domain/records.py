"""What is recorded of a job: frozen values, one a row, without the database's keys."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, Self

from rheostat.policy.advisor import Outcome
from rheostat.policy.interface import TrialState

PowerScope = Literal["", "module"]

OPEN: tuple[TrialState, ...] = ("running", "abandoned")
"""The states of a trial whose reports count: an abandoned one runs again once it is heard of."""

CONCLUDED: tuple[TrialState, ...] = ("converged", "failed", "stopped", "oom")
"""The states of a trial that came to an end of its own, which policies learn from."""


class PlacementKey(NamedTuple):
    """What identifies a placement of a job.

    Power of a whole module does not compare with that of its GPU, nor time under one workload power profile with that
    under another. Empty: the GPU itself (or unknown), no profile (or unknown).
    """

    gpu_model: str
    gpu_count: int
    power_scope: PowerScope = ""
    power_profile: str = ""


@dataclass(frozen=True, slots=True)
class PlacementRecord:
    """A GPU model and count that a job ran on.

    The limits are of one GPU, both None while no node has told them; ``nominal_power_watts`` then stands for the
    maximum in costs. ``power_scope`` and ``power_profile`` are as in :class:`PlacementKey`. A run ran out of memory at
    ``smallest_oom_batch_size``, a survey at ``surveyed_oom_batch_size``. One that ``is_simulated`` has drawn no joule.
    """

    gpu_model: str
    gpu_count: int
    min_power_limit_watts: int | None
    max_power_limit_watts: int | None
    smallest_oom_batch_size: int | None = None
    power_scope: PowerScope = ""
    power_profile: str = ""
    nominal_power_watts: int | None = None
    surveyed_oom_batch_size: int | None = None
    is_simulated: bool = False

    @property
    def closed_from_batch_size(self) -> int | None:
        """The smallest batch size that ran out of memory, in a run or a survey; None: none did."""
        known = [size for size in (self.smallest_oom_batch_size, self.surveyed_oom_batch_size) if size is not None]
        return min(known, default=None)

    @property
    def key(self) -> PlacementKey:
        """What identifies it within its job."""
        return PlacementKey(self.gpu_model, self.gpu_count, self.power_scope, self.power_profile)


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """A trial.

    ``energy_joules`` is its total as far as it is known or estimated. ``metered_joules`` is what the latest figure of
    a report counted, from ``metered_from_seconds`` to ``metered_to_seconds`` of the training time; ``energy_estimate``
    says how the rest of the total was estimated, None: there is no such rest (:mod:`rheostat.domain.energy`). ``gpu``
    is what the node told of its GPUs (:class:`rheostat.schemas.server.Gpu` as plain JSON), None for older trials.

    ``setup_seconds`` and ``setup_joules`` are the part of its totals that went by before the first training step, as
    reported or as estimated from the first report and the latest (:mod:`rheostat.domain.setup`); ``first_report`` holds
    place, time and energy of the first, None before it and when the trainer reports that part.

    ``sequence`` is its place among the job's conclusions, None while it has none; ``curve`` is its
    :class:`rheostat.policy.learning_curve.LearningCurve` as plain JSON, None before its first evaluation.

    ``first_epoch_at`` is when it first reported that it had trained, ``crashed_at`` when it ended before that
    (:mod:`rheostat.domain.crashes`). One that ``is_ordered`` trains what an operator ordered
    (:mod:`rheostat.domain.control`). One that runs ``beside_exploration`` is no part of the exploration that its policy
    waited for when it began (:class:`rheostat.policy.interface.Choice`).

    ``tags`` are what else its trainer calls it. ``predicted_cost`` is what its policy expected it to cost when it began
    (:mod:`rheostat.domain.calibration`), None: it could not say. ``nodes`` is what it
    reported of the nodes that it runs on (:class:`rheostat.schemas.nodes.NodeReport` as plain JSON), None: nothing.

    ``resumes`` is the trial whose totals it carries on, None: it has its own from the beginning. ``epochs`` are those
    of the model; ``started_at_epoch``, ``epoch_shift``, ``repeated_epochs`` and ``is_restarted`` say which of them it
    ran (:mod:`rheostat.domain.epochs`).
    """

    trial_id: str
    placement: PlacementKey
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
    gpu: dict[str, Any] | None = None
    metered_joules: float | None = None
    metered_from_seconds: float | None = None
    metered_to_seconds: float | None = None
    energy_estimate: str | None = None
    resumes: str | None = None
    started_at_epoch: float | None = None
    epoch_shift: float | None = None
    repeated_epochs: float | None = None
    is_restarted: bool = False
    setup_seconds: float | None = None
    setup_joules: float | None = None
    first_report: dict[str, Any] | None = None
    warning: str | None = None
    first_epoch_at: datetime | None = None
    crashed_at: datetime | None = None
    is_ordered: bool = False
    beside_exploration: bool = False
    tags: dict[str, str] | None = None
    predicted_cost: dict[str, Any] | None = None
    nodes: list[dict[str, Any]] | None = None


class PredictedTrial(NamedTuple):
    """What is compared of a :class:`TrialRecord` with its ``predicted_cost``."""

    placement: PlacementKey
    trial_id: str
    number: int
    batch_size: int
    state: TrialState
    energy_joules: float | None
    time_seconds: float | None
    epochs: float | None
    started_at_epoch: float | None
    repeated_epochs: float | None
    predicted_cost: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ObservationRecord:
    """A report of a trial, and the answer it was given; ``closing`` when the trainer ended the run with it."""

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
    energy_known_from_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A whole run that no trial stands for; ``cost`` only when it was given instead of energy and time."""

    run_id: str
    placement: PlacementKey
    idempotency_key: str | None
    batch_size: int
    cost: float | None
    energy_joules: float | None
    time_seconds: float | None
    converged: bool | None
    sequence: int
    received_at: datetime
    epochs: float | None = None
    curve: dict[str, Any] | None = None
    power_limit_watts: int | None = None


@dataclass(frozen=True, slots=True)
class PowerMeasurementRecord:
    """A measured power limit, as it was reported; those of one request share its idempotency key.

    ``power_limit_watts`` is 0 where none was set, and where nothing was measured since the batch size ran out of
    memory. ``surveyed``: no run of the batch size was under way or had been.
    """

    placement: PlacementKey
    batch_size: int
    power_limit_watts: int
    time_seconds: float | None
    energy_joules: float | None
    steps: float | None
    steps_per_epoch: float | None
    cost: float | None
    sequence: int
    received_at: datetime
    idempotency_key: str | None = None
    surveyed: bool = False
    outcome: Outcome | None = None


Evidence = TrialRecord | RunRecord | PowerMeasurementRecord
"""What a policy learns from, in the order of its ``sequence``."""

StatePart = Literal["batch_size", "power_limit", "cost_bound", "energy", "survey", "beginnings", "totals"]
"""The parts of a placement's state: those of its policy, as in :class:`rheostat.policy.advisor.Stores`, the sums of its
energy (:mod:`rheostat.domain.energy`), of its survey (:mod:`rheostat.domain.survey_sums`) and of its runs
(:mod:`rheostat.domain.totals`), and its crashes (:mod:`rheostat.domain.crashes`)."""


@dataclass(frozen=True, slots=True)
class AuditNote:
    """What an operator should find in the audit trail about a change of a job."""

    at: datetime
    action: str
    details: dict[str, Any]


class Paid(NamedTuple):
    """What a run has taken and how it ended: all that sums need of it, with the names of its record.

    ``has_converged``: for a whole run, that it is not known to have missed the target.
    """

    is_trial: bool
    batch_size: int
    has_converged: bool
    epochs: float | None
    energy_joules: float | None
    time_seconds: float | None
    cost: float | None
    metered_joules: float | None
    metered_from_seconds: float | None
    metered_to_seconds: float | None
    energy_estimate: str | None

    @classmethod
    def of(cls, run: TrialRecord | RunRecord) -> Self:
        """Return what a run has taken."""
        figures = run.epochs, run.energy_joules, run.time_seconds
        if isinstance(run, RunRecord):
            return cls(False, run.batch_size, run.converged is not False, *figures, run.cost, None, None, None, None)
        metered = run.metered_joules, run.metered_from_seconds, run.metered_to_seconds
        return cls(True, run.batch_size, run.state == "converged", *figures, None, *metered, run.energy_estimate)


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over those runs of a placement of which the same figures are known; None for an unknown one.

    ``cost`` sums what was given as a cost instead of energy and time. Of the energy, ``metered_joules`` were metered
    during ``metered_seconds``, without what was metered over an unknown time; that of ``estimated_runs`` is estimated
    in whole or in part.
    """

    runs: int
    epochs: float | None
    energy_joules: float | None
    time_seconds: float | None
    cost: float | None
    metered_joules: float = 0.0
    metered_seconds: float = 0.0
    estimated_runs: int = 0
