"""A recurring job as a value, and what one decision about it changes.

A decision is a pure function of the job, of what it reads of the job's :class:`~rheostat.domain.history.History`, and
of the time. It returns a :class:`Decision`: the answer, the job as it is afterwards, and the rows to write. The server
stores them (:class:`rheostat.storage.job_store.JobStore`); a replay keeps the job in memory
(:class:`rheostat.domain.memory.JobInMemory`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, TypeVar

from rheostat.domain import totals
from rheostat.domain.events import Event, PolicyFailureTolerated
from rheostat.domain.placements import (
    check_room,
    max_power_watts,
    new_placement,
    placement_key,
    power_limits,
    wire_gpu,
    with_limits_of,
)
from rheostat.domain.policy_states import PartStore, StateChange, States, WorkingStates
from rheostat.domain.records import (
    AuditNote,
    ObservationRecord,
    PlacementKey,
    PlacementRecord,
    PowerMeasurementRecord,
    RunRecord,
    StatePart,
    TrialRecord,
)
from rheostat.errors import FieldError, NoBatchSizeLeft, PolicyFailed, UnknownBatchSize
from rheostat.policy.advisor import Advisor, Stores
from rheostat.policy.interface import Job as PolicyJob
from rheostat.policy.interface import Policy
from rheostat.policy.learning_curve import Target
from rheostat.policy.published import ZEUS, Prior, Published
from rheostat.policy.registry import load_policy
from rheostat.schemas.server import Gpu, JobSettings

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Job:
    """A recurring job with all that decisions about it usually need.

    Attributes:
        job_id: Its name.
        settings: Its settings as they are now.
        registered_settings: The settings that it was registered with, as plain JSON.
        seed: Seed of all draws.
        created_at: When it was registered.
        updated_at: When its settings last changed.
        next_trial_number: Number of the next trial.
        next_sequence: Place of the next conclusion or measurement in the order of the job's evidence.
        placements: Where it ran, in the order in which they came.
        states: The policy's state.
        control: What an operator ordered of it, as plain JSON; None: nothing.
        judging: From which places of its evidence on its runs ended by its present target and epochs; None: all did
            (:mod:`rheostat.domain.judging`).
        running: The trials that are recorded as running, by their ids, in the order of their numbers.
        find_policy: Returns the policy of a name.
    """

    job_id: str
    settings: JobSettings
    registered_settings: Mapping[str, Any]
    seed: int
    created_at: datetime
    updated_at: datetime
    next_trial_number: int = 1
    next_sequence: int = 1
    placements: Mapping[PlacementKey, PlacementRecord] = field(default_factory=dict)
    states: States = field(default_factory=dict)
    running: Mapping[str, TrialRecord] = field(default_factory=dict)
    control: Mapping[str, Any] | None = None
    judging: Mapping[str, int] | None = None
    find_policy: Callable[[str], Policy] = load_policy

    def find(self, gpu: Gpu) -> PlacementRecord | None:
        """Return the placement on some GPUs, if the job ever ran there."""
        return self.placements.get(placement_key(gpu))

    def view(self, placement: PlacementRecord, gpu: Gpu | None = None) -> PolicyJob:
        """Return a placement as the policy sees it, from a node whose GPU may allow fewer limits.

        Costs are priced with the maximum power limit that the placement was first seen with, so that all runs of
        it compare; the limits to choose from are those of the node that asks.

        Raises:
            NoPowerLimitFits: None of the job's power limits lies in the GPU's range.
        """
        settings = self.settings
        return PolicyJob(
            job_id=self.job_id,
            gpu_model=placement.gpu_model,
            gpu_count=placement.gpu_count,
            default_batch_size=settings.default_batch_size,
            max_power_watts=max_power_watts(settings, placement),
            power_limits_watts=power_limits(settings, gpu or wire_gpu(placement)),
            target=self.target(),
            max_epochs=settings.max_epochs,
            eta_knob=settings.eta_knob,
            beta_knob=settings.beta_knob,
            max_slowdown=settings.max_slowdown,
            window_size=settings.window_size,
            first_run=settings.first_run,
            exploration_budget_runs=settings.exploration_budget_runs,
            diverged_after_reports=settings.diverged_after_reports,
            seed=self.seed,
            trial_number=self.next_trial_number,
            power_scope=placement.power_scope,
            power_profile=placement.power_profile,
            published=self._published(),
        )

    def _published(self) -> Published | None:
        """Return the knobs by which the job is explored exactly as published; None: it is not."""
        zeus = self.settings.zeus
        if zeus is None or self.settings.policy != ZEUS:
            return None
        prior = Prior(-zeus.mab_prior_mean, zeus.mab_prior_precision)  # a reward is a negative cost
        return Published(zeus.num_pruning_rounds, zeus.mab_num_explorations, prior)

    def target(self) -> Target | None:
        """Return the job's target."""
        target = self.settings.target
        return None if target is None else Target(target.metric, target.value, target.direction == "maximize")

    def permitted(self, placement: PlacementRecord, max_batch_size: int | None) -> tuple[int, ...]:
        """Return the batch sizes that the GPU's memory is not known to refuse.

        Raises:
            NoBatchSizeLeft: There is none.
        """
        oom = placement.smallest_oom_batch_size
        fitting = tuple(
            size
            for size in self.settings.batch_sizes
            if (oom is None or size < oom) and (max_batch_size is None or size <= max_batch_size)
        )
        surveyed_oom = placement.surveyed_oom_batch_size
        if surveyed_oom is not None:  # a survey alone does not close the smallest
            fitting = tuple(size for size in fitting if size < surveyed_oom) or fitting[:1]
        if not fitting:
            why = [f"{oom} ran out of memory" if oom is not None else ""]
            why += [f"max_batch_size is {max_batch_size}" if max_batch_size is not None else ""]
            raise NoBatchSizeLeft(
                f"No batch size of {self.job_id} is left on {placement.gpu_count} x "
                f"{placement.gpu_model}: {' and '.join(filter(None, why))}.",
                hint="Add smaller batch sizes to the job (PATCH batch_sizes), or use a GPU with more memory.",
            )
        return fitting

    def check_batch_size(self, batch_size: int) -> None:
        """Check that a batch size is one of the job's.

        Raises:
            UnknownBatchSize: It is not.
        """
        if batch_size not in self.settings.batch_sizes:
            raise UnknownBatchSize(
                f"Batch size {batch_size} is not among those of {self.job_id}: {self.settings.batch_sizes}.",
                hint="Add it to the job first (PATCH batch_sizes).",
                fields=[FieldError("batch_size", f"must be one of {self.settings.batch_sizes}")],
            )


@dataclass(frozen=True, slots=True)
class Changes:
    """The rows that a decision writes beside the job's own.

    Attributes:
        placements: New and changed placements.
        started: New trials.
        trials: Changed trials.
        observations: New reports.
        runs: New whole runs.
        measurements: New power measurements.
        states: Changed parts of the policy's state; None for one that is gone.
    """

    placements: tuple[PlacementRecord, ...] = ()
    started: tuple[TrialRecord, ...] = ()
    trials: tuple[TrialRecord, ...] = ()
    observations: tuple[ObservationRecord, ...] = ()
    runs: tuple[RunRecord, ...] = ()
    measurements: tuple[PowerMeasurementRecord, ...] = ()
    states: Mapping[tuple[PlacementKey, StatePart], StateChange | None] = field(default_factory=dict)


NO_CHANGES = Changes()


@dataclass(frozen=True, slots=True)
class Decision(Generic[A]):
    """What a request comes to.

    Attributes:
        answer: The answer.
        job: The job from now on; None: it is to be deleted.
        changes: What to write beside the job itself.
        events: What happened, for logs and metrics.
        audit: What to note in the audit trail.
    """

    answer: A
    job: Job | None
    changes: Changes = NO_CHANGES
    events: tuple[Event, ...] = ()
    audit: AuditNote | None = None


class Draft:
    """Collects what one decision changes of a job; the job itself stays as it is.

    Args:
        job: The job before the decision.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._views = {key: job.view(placement) for key, placement in job.placements.items()}
        self.states = WorkingStates(job.states, self._views)
        self.events: list[Event] = []
        self.placements: dict[PlacementKey, PlacementRecord] = {}
        self.started: list[TrialRecord] = []
        self.trials: dict[str, TrialRecord] = {}
        self._trials_before: dict[str, TrialRecord] = {}
        self.observations: list[ObservationRecord] = []
        self.runs: list[RunRecord] = []
        self.measurements: list[PowerMeasurementRecord] = []
        self._next_sequence = job.next_sequence

    @cached_property
    def advisor(self) -> Advisor:
        """The job's policy over the states that the decision works on.

        Raises:
            InvalidInput: The policy is no longer installed.
        """
        policy = self.job.find_policy(self.job.settings.policy)
        return Advisor(
            policy,
            Stores(
                batch_size=self.states.store("batch_size", replaced=policy.batch_size.replaces_state),
                power_limit=self.states.store("power_limit", replaced=policy.power_limit.replaces_state),
                cost_bound=self.states.store("cost_bound", replaced=True),
            ),
        )

    @cached_property
    def energy(self) -> PartStore:
        """The sums of each placement's energy; see :mod:`rheostat.domain.energy`."""
        return self.states.store("energy", replaced=True)

    @cached_property
    def survey(self) -> PartStore:
        """The sums of each placement's survey; see :mod:`rheostat.domain.survey_sums`."""
        return self.states.store("survey", replaced=True)

    @cached_property
    def crashes(self) -> PartStore:
        """The crashes of each placement; see :mod:`rheostat.domain.crashes`."""
        return self.states.store("beginnings", replaced=True)

    @cached_property
    def totals(self) -> PartStore:
        """The sums of each placement's runs; see :mod:`rheostat.domain.totals`."""
        return self.states.store("totals", replaced=True)

    def view(self, placement: PlacementRecord) -> PolicyJob:
        """Return a placement as the policy sees it, with its own range of power limits."""
        return self._views[placement.key]

    def placement(self, key: PlacementKey) -> PlacementRecord:
        """Return a placement of the job."""
        return self.placements.get(key) or self.job.placements[key]

    def enter(self, gpu: Gpu) -> PlacementRecord:
        """Return the placement on some GPUs, made and registered with the policy if it is new.

        Use :func:`rheostat.domain.evidence.enter`, which prices the past of a placement anew where that is necessary.

        Raises:
            NoPowerLimitFits: None of the job's power limits lies in the GPU's range.
            TooManyPlacements: The placement is new, and the job has as many as it may.
            PolicyFailed: The policy raised.
        """
        power_limits(self.job.settings, gpu)
        known = self.job.find(gpu)
        if known is None:
            check_room(self.job.job_id, self.job.placements, gpu)
        placement = new_placement(gpu) if known is None else with_limits_of(known, gpu)
        if placement == known:
            return known
        self.placements[placement.key] = placement
        self._views[placement.key] = view = self.job.view(placement)
        if known is None:
            self.advisor.register(view, self.job.settings.batch_sizes)
            self.totals[view] = {}
        return placement

    def change_trial(self, before: TrialRecord, after: TrialRecord) -> None:
        """Keep a trial that the decision changes.

        Args:
            before: The trial as it was; of several changes the first one's counts.
            after: The trial as it is from now on.
        """
        self._trials_before.setdefault(after.trial_id, before)
        self.trials[after.trial_id] = after

    def job_with_placements(self) -> Job:
        """Return the job with the placements that the decision made or changed."""
        return replace(self.job, placements={**self.job.placements, **self.placements})

    def take_sequence(self) -> int:
        """Return the next place in the order of the job's evidence."""
        sequence = self._next_sequence
        self._next_sequence += 1
        return sequence

    def learn(self, lesson: Callable[[], None]) -> None:
        """Let the policy learn from new evidence.

        A policy that fails loses nothing: the evidence is recorded, and `rheostat jobs rebuild` folds it later.
        """
        try:
            self.states.learn(lesson)
        except PolicyFailed as error:
            consequence = f"job {self.job.job_id}: run `rheostat jobs rebuild` when the policy is corrected"
            self.events.append(PolicyFailureTolerated(consequence, error))

    def decided(self, answer: A, *, audit: AuditNote | None = None) -> Decision[A]:
        """Return the decision with all that was collected.

        Raises:
            PolicyFailed: The policy keeps what cannot be stored.
        """
        self._add_up()
        states = self.states.changes()
        changes = Changes(
            placements=tuple(self.placements.values()),
            started=tuple(self.started),
            trials=tuple(self.trials.values()),
            observations=tuple(self.observations),
            runs=tuple(self.runs),
            measurements=tuple(self.measurements),
            states=states,
        )
        return Decision(answer, self._job_after(states), changes, tuple(self.events), audit)

    def _add_up(self) -> None:
        """Bring the sums of runs up to what the decision changes, where there are such sums."""
        carried_on = {trial.resumes for trial in self.started}
        for trial_id, trial in self.trials.items():
            after = None if trial_id in carried_on else trial
            self._count(trial.placement, self._trials_before[trial_id], after)
        for run in self.runs:
            self._count(run.placement, None, run)

    def _count(
        self, placement: PlacementKey, before: TrialRecord | None, after: TrialRecord | RunRecord | None
    ) -> None:
        view = self._views[placement]
        known = self.totals.get(view)
        if known is not None and (learned := totals.learn(known, before, after)) is not known:
            self.totals[view] = learned

    def _job_after(self, states: Mapping[tuple[PlacementKey, StatePart], StateChange | None]) -> Job:
        job = self.job
        running = job.running
        changed = [*self.started, *self.trials.values()]
        if not (changed or states or self.placements or self._next_sequence != job.next_sequence):
            return job
        if changed:
            running = dict(running)
            for trial in changed:
                if trial.state == "running":
                    running[trial.trial_id] = trial
                else:
                    running.pop(trial.trial_id, None)
            if any(trial.trial_id not in job.running for trial in self.trials.values()):  # an abandoned one runs again
                running = dict(sorted(running.items(), key=lambda item: item[1].number))
        return replace(
            job,
            next_trial_number=job.next_trial_number + len(self.started),
            next_sequence=self._next_sequence,
            placements={**job.placements, **self.placements} if self.placements else job.placements,
            states=_merged(job.states, states) if states else job.states,
            running=running,
        )


def _merged(states: States, changes: Mapping[tuple[PlacementKey, StatePart], StateChange | None]) -> States:
    merged = {placement: dict(parts) for placement, parts in states.items()}
    for (placement, part), change in changes.items():
        if change is None:
            del merged[placement][part]
        else:
            merged.setdefault(placement, {})[part] = change.state
    return merged


def stored_settings(settings: Mapping[str, Any]) -> JobSettings:
    """Return settings that were stored as plain JSON."""
    return JobSettings.model_validate(settings)
