"""A job that lives in this process alone: what a replay and tests decide about."""

from collections.abc import Callable, Iterator
from typing import TypeVar

from rheostat.domain.history import Beginning, Derived, History, LatestMeasurements
from rheostat.domain.job import Changes, Decision, Job
from rheostat.domain.records import (
    Evidence,
    ObservationRecord,
    Paid,
    PlacementKey,
    PowerMeasurementRecord,
    RunRecord,
    TrialRecord,
)
from rheostat.domain.refold import derive

A = TypeVar("A")


class JobInMemory(History):
    """Keeps a job and its history, as :class:`rheostat.storage.job_store.JobStore` does for a server.

    Args:
        job: The job as it starts.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self._trials: dict[str, TrialRecord] = {}
        self._observations: list[ObservationRecord] = []
        self._runs: list[RunRecord] = []
        self._measurements: dict[tuple[PlacementKey, int], list[PowerMeasurementRecord]] = {}

    def change(self, decide: Callable[[Job, History], Decision[A]]) -> A:
        """Decide, keep what was decided, and return the answer."""
        decision = decide(self.job, self)
        assert decision.job is not None
        self.job = decision.job
        self._keep(decision.changes)
        return decision.answer

    def _keep(self, changes: Changes) -> None:
        for trial in (*changes.started, *changes.trials):
            self._trials[trial.trial_id] = trial
        self._observations += changes.observations
        self._runs += changes.runs
        for measurement in changes.measurements:
            of_arm = self._measurements.setdefault((measurement.placement, measurement.batch_size), [])
            of_arm.append(measurement)

    def trial(self, trial_id: str) -> TrialRecord | None:
        """Return a trial."""
        return self._trials.get(trial_id)

    def trial_numbered(self, number: int) -> TrialRecord | None:
        """Return the trial of a number."""
        return next((trial for trial in self._trials.values() if trial.number == number), None)

    def trial_by_key(self, idempotency_key: str) -> TrialRecord | None:
        """Return the trial of an idempotency key."""
        return next((t for t in self._trials.values() if t.idempotency_key == idempotency_key), None)

    def trial_resuming(self, trial_id: str) -> TrialRecord | None:
        """Return the trial that carries on the totals of another one."""
        return next((t for t in self._trials.values() if t.resumes == trial_id), None)

    def observation(self, trial_id: str, epoch: float, *, closing: bool) -> ObservationRecord | None:
        """Return a trial's report of an epoch."""
        return next((o for o in self._of_trial(trial_id) if (o.epoch, o.closing) == (epoch, closing)), None)

    def observation_before(self, trial_id: str, epoch: float) -> ObservationRecord | None:
        """Return a trial's latest report of an earlier epoch."""
        earlier = [o for o in self._of_trial(trial_id) if o.epoch < epoch]
        return max(earlier, key=lambda o: o.epoch, default=None)

    def observation_after(self, trial_id: str, epoch: float) -> ObservationRecord | None:
        """Return a trial's first report of a later epoch."""
        later = [o for o in self._of_trial(trial_id) if o.epoch > epoch]
        return min(later, key=lambda o: o.epoch, default=None)

    def run_by_key(self, idempotency_key: str) -> RunRecord | None:
        """Return the run of an idempotency key."""
        return next((run for run in self._runs if run.idempotency_key == idempotency_key), None)

    def latest_measurement(self, placement: PlacementKey, batch_size: int) -> PowerMeasurementRecord | None:
        """Return the latest measurement of a batch size."""
        return next(reversed(self._measurements.get((placement, batch_size), [])), None)

    def latest_measurements(self, placement: PlacementKey) -> LatestMeasurements:
        """Return the latest measurement of each batch size under each limit."""
        return {
            (measurement.batch_size, measurement.power_limit_watts): measurement
            for (of_placement, _), measurements in self._measurements.items()
            for measurement in measurements
            if of_placement == placement
        }

    def measurements_by_key(self, idempotency_key: str) -> list[PowerMeasurementRecord]:
        """Return the measurements of an idempotency key."""
        found = [m for of_arm in self._measurements.values() for m in of_arm if m.idempotency_key == idempotency_key]
        return sorted(found, key=lambda measurement: measurement.sequence)

    def evidence(self, since: int = 1, before: int | None = None) -> list[Evidence]:
        """Return what a policy learns from, in its order, from one place up to another."""
        evidence: list[Evidence] = [trial for trial in self._trials.values() if trial.sequence is not None]
        evidence += self._runs
        for measurements in self._measurements.values():
            evidence += measurements
        placed = {piece.sequence: piece for piece in evidence if piece.sequence is not None}
        return [placed[at] for at in sorted(placed) if at >= since and (before is None or at < before)]

    def derived(self, job: Job) -> Derived:
        """Return the policy states of a job, derived from all evidence at once."""
        return derive(job, self)

    def has_trained(self, placement: PlacementKey, batch_size: int) -> bool:
        """Return whether a trial of a batch size has run on a placement."""
        return any(
            (trial.placement, trial.batch_size) == (placement, batch_size) and trial.epochs
            for trial in self._trials.values()
        )

    def beginnings(self) -> list[Beginning]:
        """Return those of the trials that are known to have trained, or to have crashed before that."""
        return [
            Beginning(trial.placement, trial.number, trial.batch_size, trial.first_epoch_at, trial.crashed_at)
            for trial in self._trials.values()
            if trial.first_epoch_at or trial.crashed_at
        ]

    def paid(self, placement: PlacementKey) -> Iterator[Paid]:
        """Iterate over the trials that trained and have ended, and over the whole runs."""
        carried_on = {trial.resumes for trial in self._trials.values()}
        for trial in self._trials.values():
            is_paid = trial.epochs and trial.state != "running" and trial.trial_id not in carried_on
            if is_paid and trial.placement == placement:
                yield Paid.of(trial)
        yield from (Paid.of(run) for run in self._runs if run.placement == placement)

    def _of_trial(self, trial_id: str) -> list[ObservationRecord]:
        return [observation for observation in self._observations if observation.trial_id == trial_id]
