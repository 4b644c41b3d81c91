"""What is stored of a job beyond its value; a decision reads of it only what it needs."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from rheostat.domain.job import Decision, Job
from rheostat.domain.policy_states import States
from rheostat.domain.records import (
    Evidence,
    ObservationRecord,
    Paid,
    PlacementKey,
    PowerMeasurementRecord,
    RunRecord,
    TrialRecord,
)

A = TypeVar("A")


class Beginning(NamedTuple):
    """When a trial first reported that it had trained, or crashed before that; None: it did not."""

    placement: PlacementKey
    number: int
    batch_size: int
    first_epoch_at: datetime | None
    crashed_at: datetime | None


LatestMeasurements: TypeAlias = Mapping[tuple[int, int], PowerMeasurementRecord]
"""The latest measurements of a placement, by batch size and power limit."""


class Derived(NamedTuple):
    """Policy states that were derived from all evidence, and how many pieces there were."""

    states: States
    pieces: int


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

    def latest_measurement(self, placement: PlacementKey, batch_size: int) -> PowerMeasurementRecord | None:
        """Return the latest measurement of a batch size."""

    def latest_measurements(self, placement: PlacementKey) -> LatestMeasurements:
        """Return the latest measurement of each batch size under each power limit."""

    def measurements_by_key(self, idempotency_key: str) -> list[PowerMeasurementRecord]:
        """Return the measurements that were recorded under an idempotency key, in the order of their request."""

    def evidence(self, since: int = 1, before: int | None = None) -> list[Evidence]:
        """Return what a policy learns from, in its order, from one place up to another; None: up to the last."""

    def derived(self, job: Job) -> Derived:
        """Return the policy states of a job, which may differ from the stored one, derived from all evidence.

        Raises:
            PolicyFailed: The policy raised.
            RefoldNeeded: That takes too long for a decision; it is to be made again later.
        """

    def has_trained(self, placement: PlacementKey, batch_size: int) -> bool:
        """Return whether a trial of a batch size has run an epoch, or a part of one, on a placement."""

    def beginnings(self) -> list[Beginning]:
        """Return those of the trials that are known to have trained, or to have crashed before that, in any order."""

    def paid(self, placement: PlacementKey) -> Iterator[Paid]:
        """Iterate, in any order, over the trials that trained and have ended, and over the whole runs.

        A trial that another one carries on is left out: its totals are part of that one's.
        """


Decide: TypeAlias = Callable[[Job, History], Decision[A]]
"""A decision about a job that is there."""
