"""Crash loops: which batch sizes are left out after trials that ended before their first epoch, and until when."""

from datetime import timedelta
from typing import Any

import pytest

from rheostat.domain.crashes import PAUSE_TRIALS
from rheostat.schemas.trials import Trial
from tests.domain.examples import A40, LEASE, ExampleJob

EPOCH_JOULES = {8: 500.0, 16: 300.0, 32: 200.0, 64: 150.0, 128: 120.0}


def crash(job: ExampleJob, trial: Trial, **report: Any) -> None:
    """Report what a trainer reports that fails before its first epoch."""
    job.report(trial, 0, time_seconds=1.0, **({"outcome": "cancelled"} | report))


def run(job: ExampleJob, recurrences: int, *crashing: int) -> list[int]:
    """Run some recurrences of which those at some batch sizes crash, and return the batch sizes."""
    picks = []
    for _ in range(recurrences):
        trial = job.predict()
        picks.append(trial.batch_size)
        if trial.batch_size in crashing:
            crash(job, trial)
            continue
        joules = EPOCH_JOULES[trial.batch_size]
        for epoch in (1, 2, 3):
            figures = {"energy_joules": joules * epoch, "time_seconds": joules * epoch / 100.0}
            if job.report(trial, epoch, metric=0.95 if epoch == 3 else 0.5, **figures).action == "stop":
                break
    return picks


@pytest.mark.parametrize("policy", ["zeus", "rheostat"])
@pytest.mark.parametrize("size", [8, 16, 32, 64, 128])
def test_a_batch_size_that_always_crashes_is_tried_a_few_times_and_the_job_goes_on(policy: str, size: int) -> None:
    picks = run(ExampleJob(policy=policy), 60, size)
    assert picks.count(size) <= 4
    assert len(set(picks[-20:])) < 5


@pytest.mark.parametrize("policy", ["zeus", "rheostat"])
def test_smaller_batch_sizes_come_first_when_the_default_crashes(policy: str) -> None:
    assert run(ExampleJob(policy=policy), 6, 16, 32, 64, 128) == [32, 32, 16, 16, 8, 32]


@pytest.mark.parametrize("policy", ["zeus", "rheostat"])
def test_when_everything_crashes_the_default_comes_again_and_all_take_turns(policy: str) -> None:
    picks = run(ExampleJob(policy=policy), 20, 8, 16, 32, 64, 128)
    assert picks[:7] == [32, 32, 16, 16, 8, 8, 32]
    assert set(picks) == {8, 16, 32, 64, 128}


def test_when_everything_crashes_the_reason_says_which_is_tried_again_and_none_is_called_left_out() -> None:
    job = ExampleJob(batch_sizes=[32, 64])
    run(job, 4, 32, 64)
    trial = job.predict()
    again = f"{trial.batch_size} is tried again, since nothing else is left"
    assert trial.reason == f"32 and 64 both crashed before their first epoch; {again}"
    for arm in job.arms().values():
        assert arm.status.startswith("tried in turn, since nothing else is left: its last ")


def test_the_reason_and_the_estimates_say_what_is_left_out_and_until_when() -> None:
    job = ExampleJob()
    run(job, 3, 64)
    assert run(job, 2, 64) == [64, 64]
    trial = job.predict()
    status = f"left out until trial {5 + 1 + PAUSE_TRIALS}: its last 2 trials did not reach their first epoch"
    assert trial.batch_size < 64
    assert f"64 is {status}" in trial.reason
    assert job.arms()[64].status == status
    assert job.arms()[128].status == "left out while 64 is: smaller ones are tried first"
    assert "left out" not in job.arms()[32].status


def test_a_first_epoch_clears_what_crashed_before_at_that_batch_size() -> None:
    job = ExampleJob()
    first, second, third = job.predict(), job.predict(), job.predict()
    assert [trial.batch_size for trial in (first, second, third)] == [32, 16, 64]
    others = [job.predict(A40), job.predict(A40)]
    slow = job.predict()
    while slow.batch_size != 32:
        slow = job.predict()
    crash(job, first)
    assert "left out" not in job.arms()[32].status
    more = job.predict()
    while more.batch_size != 32:
        more = job.predict()
    crash(job, more)
    assert "left out" in job.arms()[32].status
    job.report(slow, 1, metric=0.1)
    assert "left out" not in job.arms()[32].status
    crash(job, others[0])
    assert "left out" not in job.arms()[32].status


def test_the_crashes_of_several_trials_in_flight_count_together() -> None:
    job = ExampleJob(batch_sizes=[16, 32])
    flight = [job.predict() for _ in range(6)]
    at_default = [trial for trial in flight if trial.batch_size == 32]
    assert len(at_default) >= 2
    for trial in at_default:
        crash(job, trial)
    assert job.predict().batch_size == 16


def test_an_abandoned_trial_counts_until_it_is_heard_of_again() -> None:
    job = ExampleJob(batch_sizes=[16, 32])
    lost = job.predict()
    job.clock.turn(2 * LEASE)
    again = job.predict()
    assert again.batch_size == 32
    job.clock.turn(2 * LEASE)
    assert job.predict().batch_size == 16
    job.renew_lease(lost)
    assert "left out" not in job.arms()[32].status
    job.clock.turn(2 * LEASE)
    job.predict()
    assert "left out" in job.arms()[32].status


def test_a_command_that_is_killed_and_started_again_every_minute_soon_gets_another_batch_size() -> None:
    job = ExampleJob(policy="rheostat")
    run(job, 3)
    picks = []
    for _ in range(8):
        picks.append(job.predict(node="gpu-7").batch_size)
        job.clock.turn(timedelta(minutes=1))
    assert picks[:4] == [128] * 4
    assert 128 not in picks[5:]
    assert "left out" not in job.arms()[128].status
    assert job.predict(node="gpu-8").batch_size == 128


def test_trials_beside_each_other_on_one_node_are_no_crashes() -> None:
    job = ExampleJob(policy="rheostat")
    run(job, 3)
    first, second = job.predict(node="gpu-7"), job.predict(node="gpu-7")
    for _ in range(8):
        job.clock.turn(timedelta(minutes=1))
        job.renew_lease(first)
        job.renew_lease(second)
    third = job.predict(node="gpu-7")
    assert (first.batch_size, second.batch_size, third.batch_size) == (128, 128, 128)


def test_trials_that_crash_together_leave_their_batch_size_out_no_longer_than_two_do() -> None:
    job = ExampleJob(policy="rheostat")
    run(job, 3)
    for trial in [job.predict() for _ in range(5)]:
        assert trial.batch_size == 128
        crash(job, trial)
    assert job.arms()[128].status.startswith(f"left out until trial {8 + 1 + PAUSE_TRIALS}:")


def test_a_run_that_somebody_interrupted_is_no_crash() -> None:
    job = ExampleJob()
    for _ in range(4):
        trial = job.predict()
        assert trial.batch_size == 32
        crash(job, trial, interrupted=True)
    assert job.show(trial).state == "cancelled"


def test_a_run_that_failed_after_its_first_epoch_is_no_crash() -> None:
    job = ExampleJob()
    for _ in range(4):
        trial = job.predict()
        job.report(trial, 1, metric=0.1)
        job.report(trial, 1, outcome="cancelled")
        assert trial.batch_size == 32


def test_crashes_on_one_gpu_say_nothing_of_another() -> None:
    job = ExampleJob()
    run(job, 2, 32)
    assert job.predict(A40).batch_size == 32


def test_a_rebuild_derives_the_crashes_again() -> None:
    job = ExampleJob()
    for step, crashing in enumerate(([32], [16], [64], [64], [8])):
        run(job, 3, *crashing)
        job.clock.turn(timedelta(minutes=step + 1))
    before = job.value.states
    assert any(parts["beginnings"]["crashed"] for parts in before.values())
    job.rebuild()
    assert job.value.states == before


def test_a_crash_that_turns_out_to_be_none_leaves_what_a_rebuild_finds() -> None:
    job = ExampleJob(batch_sizes=[16, 32])
    crash(job, job.predict())
    job.clock.turn(timedelta(seconds=1))
    lost = job.predict()
    job.clock.turn(2 * LEASE)
    assert run(job, 1) == [16]  # the first that trains, after two at 32 that crashed
    job.clock.turn(timedelta(seconds=1))
    job.renew_lease(lost)
    before = job.value.states
    job.rebuild()
    assert job.value.states == before


def test_a_lost_trial_that_is_heard_of_again_and_was_the_only_crash_leaves_what_a_rebuild_finds() -> None:
    job = ExampleJob()
    lost = job.predict()
    job.clock.turn(2 * LEASE)
    job.predict()
    job.renew_lease(lost)
    before = job.value.states
    job.rebuild()
    assert job.value.states == before


def test_a_clock_that_jumps_back_leaves_what_a_rebuild_finds() -> None:
    job = ExampleJob(batch_sizes=[16, 32])
    crash(job, job.predict())
    for hours in (10, -30, 48, -48):
        job.clock.turn(timedelta(hours=hours))
        run(job, 1)
        crash(job, job.predict())
        crash(job, job.predict())
    before = job.value.states
    job.rebuild()
    assert job.value.states == before
