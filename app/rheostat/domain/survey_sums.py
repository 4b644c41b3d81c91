"""What the surveys of a placement have taken so far: a fold over its evidence, as a policy's state is."""

from typing import NamedTuple

from rheostat.domain.records import PowerMeasurementRecord
from rheostat.policy.interface import State


class SurveySums(NamedTuple):
    """Sums over the slices of a placement's surveys.

    Attributes:
        slices: How many there were.
        time_seconds: How long they took, as far as that was reported.
        energy_joules: What they drew, likewise.
    """

    slices: int = 0
    time_seconds: float = 0.0
    energy_joules: float = 0.0


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
    )._asdict()
