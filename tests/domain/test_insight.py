"""What is believed, and what was saved."""

import pytest

from rheostat.schemas.power import PowerLimitMeasurement
from tests.domain.examples import A40, V100, ExampleJob


def test_every_arm_of_every_placement_has_an_estimate() -> None:
    job = ExampleJob(batch_sizes=[16, 32], default_batch_size=32, eta_knob=1.0)
    for _ in range(4):
        job.recur({16: 100.0, 32: 90.0})
    job.predict(A40)
    v100, a40 = job.arms(0).values(), job.arms(1).values()
    assert [(arm.batch_size, arm.runs, arm.cost) for arm in v100] == [(16, 2, 100.0), (32, 2, 90.0)]
    assert [(arm.batch_size, arm.runs, arm.cost) for arm in a40] == [(16, 0, None), (32, 0, None)]


def test_the_interval_of_an_arm_holds_its_mean() -> None:
    job = ExampleJob(batch_sizes=[32], default_batch_size=32, eta_knob=1.0)
    for joules in (90.0, 100.0, 110.0):
        job.converge(job.predict(), joules)
    (arm,) = job.arms().values()
    assert arm.cost_low is not None
    assert arm.cost_high is not None
    assert arm.cost_low < 100.0 < arm.cost_high


def test_a_closed_arm_says_why() -> None:
    job = ExampleJob()
    job.report(job.predict(), 0, outcome="oom")
    arms = job.arms()
    assert [size for size, arm in arms.items() if "out of memory" in arm.status] == [32, 64, 128]


def test_the_baseline_is_the_mean_epochs_of_the_default_times_an_epoch_at_the_top() -> None:
    job = ExampleJob(batch_sizes=[16, 32], default_batch_size=32, eta_knob=1.0, power_limits_watts=[100, 250])
    first = job.predict()
    job.measure(32, w250=200.0, w100=100.0)
    job.report(first, 4, metric=0.95, energy_joules=450.0, time_seconds=4.0)
    second = job.predict()
    assert second.batch_size == 16
    job.report(second, 3, metric=0.95, energy_joules=250.0, time_seconds=6.0)
    saved = job.savings()
    assert (saved.converged_runs, saved.baseline_is_estimated) == (2, False)
    assert saved.energy_joules.actual == 700.0
    assert saved.energy_joules.baseline == 2 * 4 * 200.0
    assert saved.energy_joules.saved_percent == pytest.approx(100 * (1 - 700 / 1600))
    assert (saved.time_seconds.actual, saved.time_seconds.baseline) == (10.0, 2 * 4 * 1.0)
    assert "250 W" in saved.energy_joules.method


def test_where_only_steps_were_measured_the_baseline_is_the_runs_times_what_a_step_takes_at_the_top() -> None:
    alone = {"batch_sizes": [1], "default_batch_size": 1, "target": None, "max_epochs": 1}
    job = ExampleJob(**alone, policy="rheostat", eta_knob=1.0, power_limits_watts=[100, 250])
    first = job.predict()
    for limit, seconds, joules in ((250, 10.0, 2000.0), (100, 12.0, 1000.0)):
        steps = PowerLimitMeasurement(
            power_limit_watts=limit, time_seconds=seconds, energy_joules=joules, steps=50, steps_per_epoch=None
        )
        job.measured(1, V100, [steps])
    for trial in (first, job.predict()):
        answer = job.report(trial, 1, energy_joules=5000.0, time_seconds=60.0)
        assert answer.reason == "ran its 1 epoch"
    saved = job.savings()
    assert saved.energy_joules.saved_percent == pytest.approx(50.0)
    assert saved.time_seconds.saved_percent == pytest.approx(-20.0)
    assert not saved.baseline_is_estimated
    assert "a step took at 250 W against 100 W" in saved.energy_joules.method
    assert job.predict().reason.startswith("power limit only: expected cost")


@pytest.mark.parametrize("start_up_seconds", [0.0, 8.0])
def test_where_nothing_is_changed_nothing_is_saved_or_lost(start_up_seconds: float) -> None:
    """Half a second of steps at 200 J a second and a quarter of evaluation an epoch, all at the highest limit."""
    job = ExampleJob(batch_sizes=[32], default_batch_size=32, power_limits_watts=[100, 250])
    first = job.predict()
    for limit, seconds in ((250, 0.5), (100, 2.5)):
        slice_of_five_steps = PowerLimitMeasurement(
            power_limit_watts=limit, time_seconds=seconds / 2, energy_joules=50.0, steps=5, steps_per_epoch=10
        )
        job.measured(32, V100, [slice_of_five_steps])
    profiling_seconds = 1.0
    job.report(first, 10, metric=0.95, energy_joules=1100.0, time_seconds=start_up_seconds + 7.5 + profiling_seconds)
    for _ in range(4):
        job.report(job.predict(), 10, metric=0.95, energy_joules=1100.0, time_seconds=start_up_seconds + 7.5)
    saved = job.savings()
    assert saved.time_seconds.baseline == pytest.approx(5 * (start_up_seconds + 7.5))
    assert saved.energy_joules.saved_percent == pytest.approx(0.0, abs=0.1)
    assert "start-up and evaluations" in saved.cost.method


def test_before_the_default_has_converged_there_is_no_baseline() -> None:
    job = ExampleJob()
    job.predict()
    saved = job.savings()
    assert (saved.cost.actual, saved.cost.baseline, saved.cost.saved_percent) == (0.0, None, None)
    assert "no baseline" in saved.cost.method


def test_failed_and_stopped_runs_are_paid_for_too() -> None:
    job = ExampleJob(eta_knob=1.0)
    job.converge(job.predict(), 100.0)
    job.report(job.predict(), 1, metric=0.1, energy_joules=300.0, time_seconds=3.0)
    saved = job.savings()
    assert (saved.converged_runs, saved.energy_joules.actual, saved.energy_joules.baseline) == (1, 400.0, 100.0)
    assert "no epoch was measured at 250 W" in saved.energy_joules.method


def test_unknown_energy_is_estimated_in_the_sum_and_the_known_share_is_said() -> None:
    job = ExampleJob()
    job.report(job.predict(), 1, metric=0.95, time_seconds=1.0)
    assert job.savings().energy_joules.actual is None
    assert (job.savings().energy_known_share, job.savings().energy_is_estimated) == (0.0, True)
    job.report(job.predict(), 1, metric=0.95, energy_joules=300.0, time_seconds=3.0)
    saved = job.savings()
    assert saved.energy_joules.actual == 1.0 * 100.0 + 300.0
    assert "of 1 of 2 runs the energy is estimated" in saved.energy_joules.method
    assert "estimated" not in saved.time_seconds.method
    assert (saved.energy_known_share, saved.energy_is_estimated) == (0.75, True)
    assert saved.cost.actual == 0.5 * 400.0 + 0.5 * 250.0 * 4.0
    assert saved.time_seconds.actual == 4.0


def test_runs_without_a_figure_are_left_out_on_both_sides() -> None:
    job = ExampleJob()
    job.report(job.predict(), 1, metric=0.95, energy_joules=100.0, time_seconds=1.0)
    job.report(job.predict(), 1, metric=0.95, energy_joules=100.0)
    saved = job.savings()
    assert saved.converged_runs == 2
    assert (saved.time_seconds.actual, saved.time_seconds.baseline) == (1.0, 1.0)
    assert "1 of 2 runs is left out: it did not" in saved.time_seconds.method
    assert "left out" not in saved.energy_joules.method


def test_a_figure_that_no_run_reported_is_said_to_be_so() -> None:
    job = ExampleJob()
    job.report(job.predict(), 1, metric=0.95, time_seconds=1.0)
    saved = job.savings()
    assert saved.energy_joules.method == "not reported by any run"
    assert "1 converged run at batch size 32" in saved.time_seconds.method
    assert saved.baseline_runs == 1


def test_imported_runs_teach_and_are_neither_savings_nor_losses() -> None:
    job = ExampleJob(policy="rheostat")
    for size in (32, 64, 8):
        job.import_run(size, energy_joules=10.0 * size, time_seconds=1.0, epochs=4, converged=size != 8)
    saved, placement = job.savings(), job.estimates()
    assert (saved.converged_runs, saved.cost.actual, saved.cost.baseline) == (0, 0.0, None)
    assert next(arm for arm in placement.arms if arm.batch_size == 64).runs == 1


def test_a_measurement_of_a_step_gives_no_baseline_for_an_epoch() -> None:
    job = ExampleJob(eta_knob=1.0)
    of_a_step = PowerLimitMeasurement(power_limit_watts=250, time_seconds=1.0, energy_joules=100.0, steps=10)
    job.measured(32, V100, [of_a_step])
    job.converge(job.predict(), 100.0)
    saved = job.savings()
    assert saved.energy_joules.baseline == 100.0
    assert "no epoch was measured" in saved.energy_joules.method


def test_chances_to_be_the_best_are_shared_among_the_arms_that_are_open() -> None:
    job = ExampleJob(policy="rheostat")
    for _ in range(8):
        job.recur({8: 400.0, 16: 200.0, 32: 110.0, 64: 100.0, 128: 105.0})
    chances = [arm.probability_best for arm in job.arms().values()]
    assert sum(chance or 0.0 for chance in chances) == pytest.approx(1.0)
    job.report(job.predict(), 0, outcome="oom")
    closed = {size for size, arm in job.arms().items() if "out of memory" in arm.status}
    assert closed
    assert all(job.arms()[size].probability_best in (None, 0.0) for size in closed)
    assert sum(arm.probability_best or 0.0 for arm in job.arms().values()) == pytest.approx(1.0)


def test_the_account_says_what_exploring_has_cost_and_what_it_has_saved() -> None:
    joules = {8: 400.0, 16: 200.0, 32: 100.0, 64: 50.0, 128: 110.0}
    job = ExampleJob(policy="rheostat", eta_knob=1.0, exploration_budget_runs=2.0)
    sizes = [job.recur(joules) for _ in range(12)]
    account = job.estimates().account
    assert account is not None
    assert sizes[0] == 32
    assert sizes[-1] == 64
    assert account.balance_runs == pytest.approx(account.saved_runs - account.spent_runs)
    assert account.saved_runs == pytest.approx(0.5 * sizes.count(64), rel=0.1)
    assert account.default_cost == pytest.approx(100.0, rel=0.1)
    assert account.budget_runs == 2.0
    assert account.standing in job.predict().reason
    assert account.standing == f"so far {account.balance_runs:.2f} runs ahead of always running the default"


def test_a_policy_that_keeps_no_account_shows_none() -> None:
    job = ExampleJob(policy="zeus")
    job.converge(job.predict(), 100.0)
    assert job.estimates().account is None


def test_the_survey_is_charged_and_told_apart() -> None:
    job = ExampleJob(policy="rheostat", eta_knob=1.0, power_limits_watts=[100, 250], first_run="default")
    job.measure(32, w250=200.0, w100=100.0)
    job.measure(64, w100=90.0)
    trial = job.predict()
    job.report(trial, 4, metric=0.95, energy_joules=450.0, time_seconds=4.0)
    saved = job.savings()
    assert (saved.energy_joules.actual, saved.energy_joules.surveyed) == (840.0, 390.0)
    assert (saved.time_seconds.actual, saved.time_seconds.surveyed) == (7.0, 3.0)
    assert saved.cost.surveyed == 390.0
    assert saved.energy_joules.baseline == 4 * 200.0
    assert "the survey before them too" in saved.energy_joules.method
    assert saved.converged_runs == 1


def test_a_survey_without_energy_is_charged_at_the_mean_power_of_the_runs() -> None:
    job = ExampleJob(policy="rheostat", eta_knob=1.0)
    job.measured(32, V100, [PowerLimitMeasurement(time_seconds=2.0, steps=1, steps_per_epoch=1)])
    assert job.savings().energy_joules.surveyed is None
    job.converge(job.predict(), 100.0, seconds=1.0)
    assert job.savings().energy_joules.surveyed == 200.0


def test_where_the_default_never_ran_the_baseline_is_what_is_expected_of_it() -> None:
    job = ExampleJob(policy="rheostat", eta_knob=1.0, power_limits_watts=[100, 250])
    for size, joules in ((8, 800.0), (16, 400.0), (32, 200.0), (64, 100.0), (128, 50.0)):
        job.measure(size, w250=1.2 * joules, w100=joules)
    trial = job.predict()
    assert trial.batch_size == 128
    job.report(trial, 4, metric=0.95, energy_joules=200.0, time_seconds=4.0)
    saved = job.savings().energy_joules
    epochs = job.arms()[32].epochs
    assert epochs is not None
    assert saved.baseline == pytest.approx(epochs * 240.0)
    assert "an estimate, since no run has converged, at batch size 32" in saved.method
    assert job.savings().baseline_is_estimated
