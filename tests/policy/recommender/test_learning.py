"""Learning: what the end of a run changes, and what it leaves alone."""

import json
from typing import Any

import pytest

from rheostat.policy.interface import Result, State
from rheostat.policy.recommender.optimizer import Recommender
from tests.policy.examples import a_job
from tests.policy.recommender.trainer import ACCURACY, SIZES, Trainer


def test_history_without_epochs_and_runs_with_them_are_one_evidence() -> None:
    trainer = Trainer(joules={8: 200.0, 16: 200.0, 64: 50.0})
    trainer.run(32)
    for _ in range(3):
        trainer.advisor.conclude(trainer.job, "converged", batch_size=16, cost=14.0 * 200.0)
    mean, low, high = trainer.estimate(16)
    assert low < 2800.0 < high
    assert mean == pytest.approx(2800.0, rel=0.2)


def test_a_crash_of_the_first_run_does_not_close_what_lies_beyond_it() -> None:
    trainer = Trainer(epochs={8: 40, 16: 30, 32: 18, 64: 14, 128: 10})
    trainer.advisor.conclude(trainer.job, "failed", batch_size=32, cost=None, epochs=None)
    assert trainer.choose() == 16
    assert trainer.recur(30)[-1] == 128


def test_one_failure_after_absurdly_many_epochs_does_not_change_the_estimates_of_the_others() -> None:
    trainer = Trainer()
    trainer.run(32)
    trainer.advisor.conclude(trainer.job, "failed", batch_size=16, cost=1000.0, epochs=14_000.0)
    assert trainer.estimate(64)[0] > 0.5 * trainer.estimate(32)[0]


def test_with_a_window_old_failures_are_forgotten() -> None:
    trainer = Trainer(job=a_job(target=ACCURACY, window_size=3))
    for _ in range(3):
        trainer.run(16)
    trainer.advisor.conclude(trainer.job, "failed", batch_size=16, cost=10_000.0, epochs=100.0)
    expensive = trainer.estimate(16)[0]
    for _ in range(12):
        trainer.run(16)
    assert trainer.estimate(16)[0] < 1600.0 < expensive


def test_reports_past_the_last_epoch_of_a_job_without_a_target_are_no_drift() -> None:
    trainer = Trainer(job=a_job(max_epochs=15))
    for _ in range(12):
        trainer.advisor.conclude(trainer.job, "converged", batch_size=32, cost=2000.0, epochs=20.0)
    trainer.advisor.conclude(trainer.job, "converged", batch_size=16, cost=1000.0, epochs=20.0)
    assert {arm.batch_size: arm.status for arm in trainer.advisor.estimates(trainer.job)}[16] == "best known"


def test_out_of_memory_says_nothing_of_the_epochs() -> None:
    trainer = Trainer()
    trainer.run(32)
    before = trainer.estimate(128)
    trainer.advisor.conclude(trainer.job, "oom", batch_size=128, cost=None, epochs=None)
    assert trainer.estimate(128) == before


def test_a_batch_size_that_often_fails_pays_for_its_failures() -> None:
    trainer = Trainer()
    trainer.recur(10)
    sound = trainer.estimate(16)[0]
    for _ in range(3):
        trainer.advisor.conclude(trainer.job, "failed", batch_size=16, cost=10_000.0, epochs=100.0)
        trainer.run(16)
    assert trainer.estimate(16)[0] > 1.5 * sound
    assert trainer.choose() == 32


def test_what_is_remembered_does_not_grow_with_the_runs() -> None:
    store: dict[Any, State] = {}
    policy = Recommender(store)
    policy.register_job(a_job(), list(SIZES))
    sizes = []
    for number in range(600):
        policy.conclude(a_job(target=ACCURACY), Result(SIZES[number % 5], 100.0 + number % 7, "converged", 10.0))
        sizes.append(len(json.dumps(store[a_job()])))
    assert sizes[-1] < 1.1 * sizes[20]
