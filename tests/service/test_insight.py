"""What is believed, and what was saved."""

import pytest

from rheostat import service as use_cases
from rheostat.schemas.server import ObserveRunRequest, PlacementSavings
from rheostat.service import Service
from tests.service.examples import A40, JOB, V100, converge, measure, predict, recur, register, report


def _savings(service: Service) -> PlacementSavings:
    return use_cases.savings(service, JOB).placements[0]


def test_every_arm_of_every_placement_has_an_estimate(service: Service) -> None:
    register(service, batch_sizes=[16, 32], default_batch_size=32, eta_knob=1.0)
    for _ in range(4):
        recur(service, {16: 100.0, 32: 90.0})
    predict(service, A40)
    v100, a40 = use_cases.estimates(service, JOB).placements
    assert [(arm.batch_size, arm.runs, arm.cost) for arm in v100.arms] == [(16, 2, 100.0), (32, 2, 90.0)]
    assert [(arm.batch_size, arm.runs, arm.cost) for arm in a40.arms] == [(16, 0, None), (32, 0, None)]


def test_the_interval_of_an_arm_holds_its_mean(service: Service) -> None:
    register(service, batch_sizes=[32], default_batch_size=32, eta_knob=1.0)
    for joules in (90.0, 100.0, 110.0):
        converge(service, predict(service), joules)
    (arm,) = use_cases.estimates(service, JOB).placements[0].arms
    assert arm.cost_low is not None
    assert arm.cost_high is not None
    assert arm.cost_low < 100.0 < arm.cost_high


def test_a_closed_arm_says_why(service: Service) -> None:
    register(service)
    report(service, predict(service), 0, outcome="oom")
    arms = use_cases.estimates(service, JOB).placements[0].arms
    assert [arm.batch_size for arm in arms if "out of memory" in arm.status] == [32, 64, 128]


def test_the_baseline_is_the_mean_epochs_of_the_default_times_an_epoch_at_the_top(service: Service) -> None:
    register(service, batch_sizes=[16, 32], default_batch_size=32, eta_knob=1.0, power_limits_watts=[100, 250])
    first = predict(service)
    measure(service, 32, w250=200.0, w100=100.0)
    report(service, first, 4, metric=0.95, energy_joules=450.0, time_seconds=4.0)
    second = predict(service)
    assert second.batch_size == 16
    report(service, second, 3, metric=0.95, energy_joules=250.0, time_seconds=6.0)
    saved = _savings(service)
    assert saved.converged_runs == 2
    assert saved.energy_joules.actual == 700.0
    assert saved.energy_joules.baseline == 2 * 4 * 200.0
    assert saved.energy_joules.saved_percent == pytest.approx(100 * (1 - 700 / 1600))
    assert (saved.time_seconds.actual, saved.time_seconds.baseline) == (10.0, 2 * 4 * 1.0)
    assert "250 W" in saved.energy_joules.method


def test_failed_and_stopped_runs_are_paid_for_too(service: Service) -> None:
    register(service, eta_knob=1.0)
    converge(service, predict(service), 100.0)
    report(service, predict(service), 1, metric=0.1, energy_joules=300.0, time_seconds=3.0)
    saved = _savings(service)
    assert (saved.converged_runs, saved.energy_joules.actual, saved.energy_joules.baseline) == (1, 400.0, 100.0)
    assert "no epoch was measured at 250 W" in saved.energy_joules.method


def test_before_the_default_has_converged_there_is_no_baseline(service: Service) -> None:
    register(service)
    predict(service)
    saved = _savings(service)
    assert (saved.cost.actual, saved.cost.baseline, saved.cost.saved_percent) == (0.0, None, None)
    assert "no baseline" in saved.cost.method


def test_an_unknown_energy_makes_the_sum_unknown_and_not_smaller(service: Service) -> None:
    register(service)
    converge(service, predict(service), 100.0)
    report(service, predict(service), 1, metric=0.95, time_seconds=1.0)
    saved = _savings(service)
    assert saved.energy_joules.actual is None
    assert "not every run" in saved.energy_joules.method
    assert saved.time_seconds.actual == 2.0


def test_imported_runs_count(service: Service) -> None:
    register(service)
    request = ObserveRunRequest(batch_size=32, gpu=V100, cost=50.0, converged=True)
    use_cases.observe_run(service, JOB, request, None)
    saved = _savings(service)
    assert (saved.converged_runs, saved.cost.actual, saved.cost.baseline) == (1, 50.0, 50.0)
    assert saved.energy_joules.actual is None
