"""What is stored of a job beyond its value; a decision reads of it only what it needs."""

from collections.abc import Iterator
from typing import Protocol

from rheostat.domain.records import (
    Evidence,
    ObservationRecord,
    PlacementKey,
    PowerMeasurementRecord,
    RunRecord,
    TrialRecord,
)


class History(Protocol):
    """The past of one job, as of the moment of the decision."""

    def trial(self, trial_id: str) -> TrialRecord | None:
        """Return a trial of the job."""

    def trial_numbered(self, number: int) -> TrialRecord | None:
        """Return the trial of a number."""

    def trial_by_key(self, idempotency_key: str) -> TrialRecord | None:
        """Return the trial that was made for an idempotency key."""

    def trial_resuming(self, trial_id: str) -> TrialRecord | None:
        """Return the trial that carries on the totals of another one."""

    def observation(self, trial_id: str, epoch: float, *, closing: bool) -> ObservationRecord | None:
        """Return a trial's report of an epoch."""

    def observation_before(self, trial_id: str, epoch: float) -> ObservationRecord | None:
        """Return a trial's latest report of an earlier epoch."""

    def observation_after(self, trial_id: str, epoch: float) -> ObservationRecord | None:
        """Return a trial's first report of a later epoch."""

    def run_by_key(self, idempotency_key: str) -> RunRecord | None:
        """Return the run that was recorded under an idempotency key."""

    def latest_measurement(
        self, placement: PlacementKey, batch_size: int, power_limit_watts: int | None = None
    ) -> PowerMeasurementRecord | None:
        """Return the latest measurement of a batch size, or of one of its power limits."""

    def measurements_by_key(self, idempotency_key: str) -> list[PowerMeasurementRecord]:
        """Return the measurements that were recorded under an idempotency key, in the order of their request."""

    def evidence(self) -> list[Evidence]:
        """Return all that a policy learns from, in its order."""

    def has_trained(self, placement: PlacementKey, batch_size: int) -> bool:
        """Return whether a trial of a batch size has run an epoch, or a part of one, on a placement."""

    def beginnings(self) -> list[TrialRecord]:
        """Return the trials that are known to have trained, or to have crashed before that, in any order."""

    def paid(self, placement: PlacementKey) -> Iterator[TrialRecord | RunRecord]:
        """Iterate, in any order, over the trials that trained and have ended, and over the whole runs.

        A trial that another one carries on is left out: its totals are part of that one's.
        """
