"""How power limits are measured over epochs; with a real agent in test_node.py."""

from collections.abc import Sequence
from typing import cast

import pytest

from rheostat import PowerLimitMeasurement
from rheostat.errors import RheostatError, ServerRefused, ServerUnreachable
from rheostat.launch.limits import EpochLimits
from rheostat.sdk.trial import RunningTrial


class FakeTrial:
    """A trial whose server asks for some limits, and then knows the best one.

    Attributes:
        limits_watts: The limits that were set, "best" or "found" where none is measured.
        measurements: What was reported.
        problem: Why limits cannot be set; None: they can.
        cap_watts: Higher limits do not come into force.
        answers: Whether the server does.
    """

    energy_source: str | None = "counter"
    power_limit_watts: int | None = None

    def __init__(self, wanted_watts: Sequence[int], best_watts: int | None) -> None:
        self.profile_power_limits_watts = tuple(wanted_watts)
        self._best_watts = best_watts
        self.limits_watts: list[object] = []
        self.measurements: list[PowerLimitMeasurement] = []
        self.problem: RheostatError | None = None
        self.cap_watts = 1000
        self.answers = True
        self._joules = 0.0

    def try_power_limit(self, watts: int) -> bool:
        if self.problem is not None:
            raise self.problem
        self.limits_watts.append(watts)
        return watts <= self.cap_watts

    def settle_power_limit(self, best_watts: int | None) -> None:
        self.limits_watts.append("found" if best_watts is None else f"best {best_watts}")

    def cheapest_power_limit(self, measurements: Sequence[PowerLimitMeasurement]) -> int:
        return min(one.power_limit_watts or 0 for one in measurements)

    def measured(self, measurements: Sequence[PowerLimitMeasurement]) -> int | None:
        self.measurements += measurements
        known = {one.power_limit_watts for one in self.measurements}
        left = [watts for watts in self.profile_power_limits_watts if watts not in known]
        self.profile_power_limits_watts = tuple(left) if self.answers else ()
        if self.answers and not left:
            self.power_limit_watts = self._best_watts
        return self.power_limit_watts

    def energy_joules(self) -> float:
        self._joules += 100.0
        return self._joules


class Epochs:
    """A run whose epochs take so long, on a clock of its own."""

    def __init__(self, trial: FakeTrial, monkeypatch: pytest.MonkeyPatch) -> None:
        self._seconds = 0.0
        self._epoch = 0
        monkeypatch.setattr("rheostat.launch.limits.monotonic", lambda: self._seconds)
        self.limits = EpochLimits(cast("RunningTrial", trial))

    def run(self, count: int = 1, seconds: float = 3.0, late_seconds: float = 0.0) -> None:
        """Run epochs, of which the last ends so long before it is noticed."""
        for _ in range(count):
            self._seconds += seconds
            self._epoch += 1
            self.limits.take(self.limits.mark(self._epoch, self._seconds - late_seconds))

    def wait(self, seconds: float) -> None:
        """Let time pass in which whoever takes the marks is held up."""
        self._seconds += seconds


def test_each_limit_is_measured_over_an_epoch_and_then_the_best_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = FakeTrial([250, 150], best_watts=150)
    epochs = Epochs(trial, monkeypatch)
    epochs.run(2)
    epochs.run(seconds=4.0)
    assert [(one.power_limit_watts, one.time_seconds, one.steps) for one in trial.measurements] == [
        (250, 3.0, 1.0),
        (150, 4.0, 1.0),
    ]
    assert trial.limits_watts[-1] == "best 150"
    assert epochs.limits.mark(4, 1e9) is None


def test_an_interval_that_is_too_short_is_extended_to_the_next_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = FakeTrial([250], best_watts=250)
    epochs = Epochs(trial, monkeypatch)
    epochs.run(4, seconds=0.4)
    (measurement,) = trial.measurements
    assert measurement.steps == 3
    assert measurement.time_seconds == pytest.approx(1.2)


def test_an_epoch_that_is_noticed_late_ends_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = FakeTrial([250], best_watts=250)
    epochs = Epochs(trial, monkeypatch)
    epochs.run()
    epochs.run(seconds=5.0, late_seconds=2.0)
    assert trial.measurements == []
    epochs.run(seconds=1.0)
    (measurement,) = trial.measurements
    assert (measurement.steps, measurement.time_seconds) == (2, 6)


def test_a_measurement_begins_with_an_epoch_also_after_a_slow_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = FakeTrial([250, 150], best_watts=150)
    epochs = Epochs(trial, monkeypatch)
    epochs.run()
    answer = trial.measured

    def answer_slowly(measurements: Sequence[PowerLimitMeasurement]) -> int | None:
        epochs.wait(2.0)
        return answer(measurements)

    monkeypatch.setattr(trial, "measured", answer_slowly)
    epochs.run()
    epochs.run(seconds=1.0)
    assert [one.power_limit_watts for one in trial.measurements] == [250]
    epochs.run()
    assert [(one.time_seconds, one.steps) for one in trial.measurements] == [(3, 1), (3, 1)]


AWAY = ServerUnreachable("There is no agent socket.")
FOREIGN = ServerRefused("Another process set it.", status=409, server_code="foreign_power_limit")


def test_when_the_agent_was_away_the_run_goes_on_without_the_tried_limit_and_measures_it_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = FakeTrial([250, 150], best_watts=150)
    epochs = Epochs(trial, monkeypatch)
    epochs.run(2)
    trial.problem = AWAY
    epochs.run(2)
    trial.problem = None
    epochs.run(2)
    # Each limit is set once more to check that it was in force.
    assert trial.limits_watts == [250, 250, 150, "found", "found", 150, 150, "best 150"]
    assert [one.power_limit_watts for one in trial.measurements] == [250, 150]


def test_unknown_energy_is_measured_again_a_few_times_and_then_the_limit_found_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = FakeTrial([250, 150], best_watts=150)
    monkeypatch.setattr(trial, "energy_joules", lambda: None)
    epochs = Epochs(trial, monkeypatch)
    epochs.run(30)
    assert trial.measurements == []
    assert trial.limits_watts.count(250) == 5
    assert trial.limits_watts[-1] == "found"
    assert epochs.limits.mark(31, 1e9) is None


@pytest.mark.parametrize("known", [None, 200])
def test_a_foreign_limit_ends_the_measuring(monkeypatch: pytest.MonkeyPatch, known: int | None) -> None:
    trial = FakeTrial([250, 150], best_watts=150)
    epochs = Epochs(trial, monkeypatch)
    trial.power_limit_watts = known
    trial.problem = FOREIGN
    epochs.run(2)
    assert trial.limits_watts == [250, "found" if known is None else "best 200"]
    assert epochs.limits.mark(3, 1e9) is None


def test_without_the_server_the_limit_found_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = FakeTrial([250, 150], best_watts=150)
    trial.answers = False
    epochs = Epochs(trial, monkeypatch)
    epochs.run(2)
    assert trial.limits_watts[-1] == "found"
    assert epochs.limits.mark(3, 1e9) is None


def test_limits_above_a_cap_are_left_out_and_the_best_of_the_others_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = FakeTrial([250, 200, 150], best_watts=None)
    trial.cap_watts = 220
    epochs = Epochs(trial, monkeypatch)
    epochs.run(3)
    assert [one.power_limit_watts for one in trial.measurements] == [200, 150]
    assert trial.limits_watts[-1] == "best 150"


def test_without_an_agent_no_limit_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = FakeTrial([250], best_watts=250)
    trial.energy_source = None
    assert Epochs(trial, monkeypatch).limits.mark(1, 1e9) is None
    assert trial.limits_watts == []
