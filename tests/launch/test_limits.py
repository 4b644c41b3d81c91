"""How power limits are measured over epochs; with a real agent in test_node.py."""

from collections.abc import Sequence
from typing import cast

import pytest

from rheostat import PowerLimitMeasurement
from rheostat.launch.limits import EpochLimits, Mark
from rheostat.sdk.trial import RunningTrial


class FakeTrial:
    """A trial whose server asks for some limits, and then knows the best one.

    Attributes:
        limits_watts: The limits that were set.
        measurements: What was reported.
    """

    energy_source: str | None = "counter"

    def __init__(self, wanted_watts: Sequence[int], best_watts: int) -> None:
        self.profile_power_limits_watts = tuple(wanted_watts)
        self._best_watts = best_watts
        self.limits_watts: list[int] = []
        self.measurements: list[PowerLimitMeasurement] = []
        self.in_force = True

    def limit_power(self, watts: int) -> bool:
        self.limits_watts.append(watts)
        return self.in_force

    def measured(self, measurements: Sequence[PowerLimitMeasurement]) -> int | None:
        self.measurements += measurements
        self.profile_power_limits_watts = self.profile_power_limits_watts[1:]
        return None if self.profile_power_limits_watts else self._best_watts

    def energy_joules(self) -> float:
        return 100.0 * len(self.limits_watts)


def limits_of(trial: FakeTrial) -> EpochLimits:
    return EpochLimits(cast("RunningTrial", trial))


def test_each_limit_is_measured_over_an_epoch_and_then_the_best_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 20.0])
    monkeypatch.setattr("rheostat.launch.limits.monotonic", lambda: next(times))
    trial = FakeTrial([250, 150], best_watts=150)
    limits = limits_of(trial)
    limits.take(Mark(1, 5.0, 0.0))
    limits.take(Mark(2, 8.0, 600.0))
    limits.take(Mark(3, 14.0, 1100.0))
    assert [(one.power_limit_watts, one.time_seconds, one.steps) for one in trial.measurements] == [
        (250, 3.0, 1.0),
        (150, 4.0, 1.0),
    ]
    assert trial.limits_watts[-1] == 150
    assert limits.mark(4) is None


def test_an_interval_that_is_too_short_is_extended_to_the_next_epoch() -> None:
    trial = FakeTrial([250], best_watts=250)
    limits = limits_of(trial)
    for epoch, at_seconds in ((1, 5.0), (2, 5.4), (3, 6.5)):
        limits.take(Mark(epoch, at_seconds, 100.0 * epoch))
    (measurement,) = trial.measurements
    assert (measurement.steps, measurement.time_seconds) == (2, 1.5)


@pytest.mark.parametrize(("energy_joules", "in_force"), [(None, True), (0.0, True), (600.0, False)])
def test_measuring_ends_without_energy_or_when_the_limit_is_no_longer_in_force(
    energy_joules: float | None, in_force: bool
) -> None:
    trial = FakeTrial([250, 150], best_watts=150)
    limits = limits_of(trial)
    limits.take(Mark(1, 5.0, 0.0))
    trial.in_force = in_force
    limits.take(Mark(2, 8.0, energy_joules))
    assert trial.measurements == []
    assert limits.mark(3) is None


def test_without_an_agent_no_limit_is_set() -> None:
    trial = FakeTrial([250], best_watts=250)
    trial.energy_source = None
    assert limits_of(trial).mark(1) is None
    assert trial.limits_watts == []
