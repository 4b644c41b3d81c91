"""What the surveys of a placement have taken so far: a fold over its evidence, as a policy's state is."""

from typing import NamedTuple

from rheostat.domain.records import PowerMeasurementRecord, Totals
from rheostat.policy.interface import State


class SurveySums(NamedTuple):
    """Sums over the slices of a placement's surveys.

    Attributes:
        slices: How many there were.
        time_seconds: How long they took, as far as that was reported.
        energy_joules: What they drew, likewise.
        unmetered_seconds: How long those took whose energy is unknown.
    """

    slices: int = 0
    time_seconds: float = 0.0
    energy_joules: float = 0.0
    unmetered_seconds: float = 0.0

    def totals(self) -> list[Totals]:
        """Return them beside those of runs, what was metered apart from what was not."""
        metered = self.time_seconds - self.unmetered_seconds
        totals = []
        if metered > 0.0:
            totals.append(Totals(0, None, self.energy_joules, metered, None, self.energy_joules, metered))
        if self.unmetered_seconds > 0.0:
            totals.append(Totals(0, None, None, self.unmetered_seconds, None))
        return totals


def survey_sums(state: State | None) -> SurveySums:
    """Return the sums of a stored state."""
    return SurveySums() if state is None else SurveySums(**state)


def learn(state: State | None, slice_: PowerMeasurementRecord) -> State:
    """Return the sums with one more slice."""
    known = survey_sums(state)
    return SurveySums(
        known.slices + 1,
        known.time_seconds + (slice_.time_seconds or 0.0),
        known.energy_joules + (slice_.energy_joules or 0.0),
        known.unmetered_seconds + (slice_.time_seconds or 0.0 if slice_.energy_joules is None else 0.0),
    )._asdict()
