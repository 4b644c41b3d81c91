"""What goes by before the first step is no epoch's cost: it is reported or estimated, and decisions leave it out."""

from itertools import count

import pytest

from rheostat.schemas.power import PowerLimitMeasurement
from rheostat.schemas.trials import ObserveAnswer, Trial
from tests.domain.examples import V100, ExampleJob

EPOCHS = {8: 14, 16: 12, 32: 10, 64: 11, 128: 40}
"""Epochs to the target; the default is the best, since one of them takes half a second everywhere."""

START_UP_SECONDS = 8.0
EPOCH_SECONDS = 0.5
WATTS = 100.0


def quick_epochs(**changes: object) -> ExampleJob:
    return ExampleJob(**{"policy": "rheostat", "max_epochs": 60, "power_limits_watts": [250]} | changes)


def train(job: ExampleJob, start_up_seconds: float = START_UP_SECONDS) -> tuple[Trial, ObserveAnswer]:
    """Run a trial to its end, with start-up counted in its totals but not told apart."""
    trial = job.predict()
    for epoch in count(1):
        seconds = start_up_seconds + EPOCH_SECONDS * epoch
        metric = 0.9 * min(epoch / EPOCHS[trial.batch_size], 1.0)
        answer = job.report(trial, epoch, metric=metric, time_seconds=seconds, energy_joules=WATTS * seconds)
        if answer.action == "stop":
            return trial, answer
    raise AssertionError


def test_a_long_start_up_before_short_epochs_stops_no_run_of_the_best_known_batch_size() -> None:
    job = quick_epochs(power_limits_watts=[250, 200])
    for size in EPOCHS:
        job.measured(
            size,
            V100,
            [
                PowerLimitMeasurement(
                    power_limit_watts=limit,
                    time_seconds=EPOCH_SECONDS,
                    energy_joules=WATTS * EPOCH_SECONDS,
                    steps=10,
                    steps_per_epoch=10,
                )
                for limit in (250, 200)
            ],
        )
    ends = [train(job) for _ in range(15)]
    of_default = [answer.state for trial, answer in ends if trial.batch_size == 32]
    assert len(of_default) >= 8
    assert set(of_default) == {"converged"}


def test_an_unusually_long_start_up_is_spent_and_stops_nothing() -> None:
    job = quick_epochs()
    states = [train(job, start_up_seconds)[1].state for start_up_seconds in (0.0, 0.0, 0.0, 0.0)]
    trial, answer = train(job, start_up_seconds=100.0)
    assert (trial.batch_size, answer.state) == (32, "converged"), states


@pytest.mark.parametrize("start_up_seconds", [0.0, 8.0, 80.0])
def test_an_epoch_costs_the_same_whatever_went_by_before_it(start_up_seconds: float) -> None:
    job = quick_epochs()
    for _ in range(3):
        train(job, start_up_seconds)
    arm = job.arms()[32]
    of_a_second = 0.5 * WATTS + 0.5 * 250.0
    assert arm.epoch_cost == pytest.approx(EPOCH_SECONDS * of_a_second, rel=0.01)
    assert arm.cost == pytest.approx((start_up_seconds + 10 * EPOCH_SECONDS) * of_a_second, rel=0.05)


def test_choices_are_the_same_with_and_without_a_start_up() -> None:
    with_start_up, without = quick_epochs(), quick_epochs()
    chosen = [train(with_start_up)[0].batch_size for _ in range(20)]
    assert chosen == pytest.approx([train(without, 0.0)[0].batch_size for _ in range(20)])


def test_what_the_trainer_reports_counts_rather_than_an_estimate() -> None:
    job = quick_epochs()
    trial = job.predict()
    for epoch in (1, 2):
        job.report(trial, epoch, time_seconds=10.0 * epoch, energy_joules=900.0 * epoch, setup_seconds=4.0)
    record = job.value.running[trial.trial_id]
    assert (record.setup_seconds, record.setup_joules, record.first_report) == (4.0, None, None)


def test_a_setup_longer_than_the_run_so_far_is_all_of_it() -> None:
    job = quick_epochs()
    trial = job.predict()
    job.report(trial, 1, time_seconds=3.0, energy_joules=90.0, setup_seconds=4.0, setup_joules=100.0)
    record = job.value.running[trial.trial_id]
    assert (record.setup_seconds, record.setup_joules) == (3.0, 90.0)


@pytest.mark.parametrize(("setup_seconds", "epochs"), [(8.0, 1.0), (6.0, 2.0)])
def test_an_evaluation_before_the_first_step_is_no_epoch_however_long_the_start_up_took(
    setup_seconds: float, epochs: float
) -> None:
    job = quick_epochs()
    trial = job.predict()
    job.report(trial, 0, metric=0.1, time_seconds=7.9)
    job.report(trial, 1, metric=0.2, time_seconds=8.5, setup_seconds=setup_seconds)
    assert job.show(trial).epochs == epochs


def test_a_start_up_does_not_hide_that_a_trainer_goes_on_from_a_checkpoint() -> None:
    job = quick_epochs()
    trial = job.predict()
    for epoch, seconds in ((7, 8.5), (8, 9.0)):
        job.report(trial, epoch, metric=0.1 * epoch, time_seconds=seconds, setup_seconds=8.0)
    assert job.value.running[trial.trial_id].started_at_epoch == 6.0


@pytest.mark.parametrize(
    ("reports", "expected"),
    [
        ([(1, 9.0)], None),
        ([(1, 9.0), (2, 10.0)], 8.0),
        ([(1, 9.0), (2, 10.5), (3, 11.0)], 8.0),
        ([(0.1, 8.1), (0.2, 8.2)], 8.0),
        ([(1, 1.0), (2, 3.0)], 0.0),
        ([(4, 9.0), (4.1, 9.0)], None),
        ([(0, 1.0), (1, 9.0), (2, 10.0)], 8.0),
    ],
)
def test_without_it_the_line_through_the_first_report_and_the_latest_tells(
    reports: list[tuple[float, float]], expected: float | None
) -> None:
    job = quick_epochs()
    trial = job.predict()
    for epoch, seconds in reports:
        job.report(trial, epoch, time_seconds=seconds, energy_joules=50.0 * seconds)
    record = job.value.running[trial.trial_id]
    assert record.setup_seconds == (None if expected is None else pytest.approx(expected))
    assert record.setup_joules == (None if expected is None else pytest.approx(50.0 * expected))


def test_a_rebuild_finds_the_same_figures() -> None:
    job = quick_epochs()
    for start_up_seconds in (8.0, 4.0, 6.0, 0.0):
        train(job, start_up_seconds)
    before = job.arms()
    job.rebuild()
    assert job.arms() == before


def test_the_baseline_policy_does_not_take_a_start_up_for_the_next_epoch_either() -> None:
    """Twice the bound is not passed by half a second more, though the mean of an epoch so far is twelve."""
    job = quick_epochs(policy="zeus")
    train(job)  # 13 s
    trial = job.predict()
    answer = job.report(trial, 1, metric=0.1, time_seconds=20.0, energy_joules=2000.0, setup_seconds=19.5)
    assert answer.state == "running"


@pytest.mark.parametrize("start_up_seconds", [3.0, 8.0, 14.0])
def test_after_one_report_no_run_is_stopped_for_a_start_up_that_varies(start_up_seconds: float) -> None:
    job = quick_epochs(first_run="default", exploration_budget_runs=None)
    train(job)
    trial = job.predict()
    assert trial.batch_size != 32
    epoch_seconds = 0.8 * EPOCH_SECONDS * EPOCHS[32] / EPOCHS[trial.batch_size]  # a run of 0.8 times the cost
    for epoch in range(1, 9):
        seconds = start_up_seconds + epoch_seconds * epoch
        metric = 0.9 * epoch / EPOCHS[trial.batch_size]
        answer = job.report(trial, epoch, metric=metric, time_seconds=seconds, energy_joules=WATTS * seconds)
        assert answer.state == "running", answer.reason


def test_an_epoch_that_takes_more_than_the_start_up_is_seen_at_once() -> None:
    job = quick_epochs(first_run="default", exploration_budget_runs=None)
    train(job)
    trial = job.predict()
    answer = job.report(trial, 1, metric=0.1, time_seconds=60.0, energy_joules=6000.0)
    assert answer.action == "stop", answer.reason
