"""Choosing: the default first, then the best known batch size or one that is worth trying, and fallbacks."""

from dataclasses import replace

import pytest

from rheostat.errors import NoBatchSizeLeft
from rheostat.policy.interface import Situation
from tests.policy.recommender.trainer import SIZES, Trainer


def reason(trainer: Trainer, *pending: int) -> str:
    return trainer.advisor.choose(trainer.job, Situation(SIZES, pending)).reason


def test_the_first_run_is_the_default_and_is_never_stopped() -> None:
    trainer = Trainer(epochs={32: 99})
    assert trainer.choose() == 32
    assert "nothing has converged yet" in reason(trainer)
    assert trainer.run(32) == "converged"


def test_a_gpu_that_nothing_names_is_called_so() -> None:
    trainer = Trainer()
    trainer.job = replace(trainer.job, gpu_model="unknown")
    trainer.advisor.register(trainer.job, SIZES)
    assert reason(trainer) == "the default: nothing has converged yet on this machine (GPU not known)"


def test_trials_in_flight_are_not_tried_twice() -> None:
    trainer = Trainer()
    trainer.run(32)
    first = trainer.choose()
    assert trainer.choose(first, first) != first


def test_first_runs_that_start_together_begin_with_the_defaults_neighbours() -> None:
    trainer = Trainer()
    chosen: list[int] = []
    for _ in range(6):
        chosen.append(trainer.choose(*chosen))
    assert chosen == [32, 16, 64, 8, 32, 32]
    assert "a neighbour of it" in reason(trainer, 32)


def test_a_first_run_that_fails_is_followed_by_smaller_batch_sizes_and_then_by_larger_ones() -> None:
    trainer = Trainer(epochs={128: 20})
    tried = []
    for _ in range(5):
        tried.append(trainer.choose())
        trainer.run(tried[-1])
    assert tried == [32, 16, 8, 64, 128]
    assert trainer.trials[-1][2] == "converged"
    assert trainer.recur(6)[-3:] == [128] * 3


def test_when_nothing_is_left_to_try_the_error_says_what_failed_and_what_to_do() -> None:
    trainer = Trainer(epochs={})
    for _ in range(2 * len(SIZES)):
        trainer.run(trainer.choose())
    assert [size for size, _, _ in trainer.trials] == [32, 16, 8, 64, 128] * 2
    with pytest.raises(NoBatchSizeLeft, match="no run of 8, 16, 32, 64, 128 reached the target") as caught:
        trainer.choose()
    assert "PATCH batch_sizes" in caught.value.hint


def test_what_the_memory_does_not_hold_is_left_out() -> None:
    trainer = Trainer()
    trainer.run(trainer.choose(permitted=(8, 16)))
    assert trainer.trials[0][0] == 16
    assert trainer.choose(permitted=(8, 16)) in (8, 16)


def test_a_job_with_one_batch_size_is_about_power_alone() -> None:
    trainer = Trainer()
    for _ in range(3):
        assert trainer.choose(permitted=(32,)) == 32
        assert trainer.run(32) == "converged"
    assert trainer.advisor.power(trainer.job, 32).power_limit_watts == 200


def test_a_gpu_that_cannot_run_what_converged_elsewhere_is_not_left_without_a_batch_size() -> None:
    trainer = Trainer(epochs={8: 90, 16: 80, 32: 70, 64: 20, 128: 18})
    trainer.run(64)
    trainer.run(64)
    ends = [trainer.run(trainer.choose(permitted=(8, 16, 32))) for _ in range(12)]
    assert ends[-1] == "converged"
    assert ends.count("stopped") <= 5


@pytest.mark.parametrize("epochs", [None, 0.0])
def test_the_best_batch_size_is_left_when_it_begins_to_crash(epochs: float | None) -> None:
    trainer = Trainer()
    trainer.recur(20)
    crashed = 0
    for _ in range(40):
        if (size := trainer.choose()) == 16:
            trainer.advisor.conclude(trainer.job, "failed", batch_size=16, cost=None, epochs=epochs)
            crashed += 1
        else:
            trainer.run(size)
    assert crashed < 15
    assert trainer.choose() == 32


def test_no_batch_size_is_tried_far_beyond_those_that_converged() -> None:
    trainer = Trainer(epochs={8: 22, 16: 20, 32: 18, 64: 16, 128: 14}, joules={128: 1.0})
    trainer.run(16)
    assert trainer.choose() in (8, 32, 64)
