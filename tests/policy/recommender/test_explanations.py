"""Explanations: what users read of a choice and of each arm."""

import pytest

from rheostat.policy.interface import Situation
from tests.policy.recommender.trainer import EPOCHS, SIZES, Trainer


def reason(trainer: Trainer, *pending: int) -> str:
    return trainer.advisor.choose(trainer.job, Situation(SIZES, pending)).reason


def test_the_reason_gives_the_expected_cost_the_expected_saving_and_the_best_known_batch_size() -> None:
    trainer = Trainer()
    trainer.run(32)
    exploring = reason(trainer)
    assert trainer.choose() != 32
    assert "expected cost" in exploring
    assert "expected to save" in exploring
    assert "best known batch size: 32" in exploring
    trainer.recur(20)
    assert reason(trainer).startswith("best known batch size: expected cost")


def test_estimates_give_epochs_epoch_cost_cost_and_probability_best() -> None:
    trainer = Trainer()
    assert {arm.status for arm in trainer.advisor.estimates(trainer.job)} == {"nothing has converged yet"}
    trainer.recur(20)
    arms = {arm.batch_size: arm for arm in trainer.advisor.estimates(trainer.job)}
    assert arms[16].status == "best known"
    assert arms[16].epochs.mean == pytest.approx(14.0, rel=0.05)
    assert arms[16].epoch_cost.mean == pytest.approx(100.0, rel=0.01)
    assert arms[16].cost.mean == pytest.approx(1400.0, rel=0.05)
    chances = [arm.probability_best or 0.0 for arm in arms.values()]
    assert sum(chances) == pytest.approx(1.0)
    assert arms[16].probability_best == max(chances)
    assert "above the best known" in arms[32].status
    assert "converged" in arms[64].status or "not tried" in arms[64].status


def test_closed_arms_say_why_and_have_no_chance() -> None:
    trainer = Trainer()
    trainer.run(32)
    trainer.advisor.conclude(trainer.job, "failed", batch_size=64, cost=10_000.0, epochs=100.0)
    arms = {arm.batch_size: arm for arm in trainer.advisor.estimates(trainer.job)}
    assert arms[64].status == "closed: its runs did not converge"
    assert arms[128].status == "closed: 64 did not converge, and this one lies beyond it"
    assert arms[128].probability_best == 0.0


def test_on_a_gpu_where_nothing_was_measured_no_cost_is_claimed() -> None:
    trainer = Trainer()
    trainer.recur(10)
    elsewhere = trainer.on(gpu_model="A40")
    arms = elsewhere.advisor.estimates(elsewhere.job)
    assert {arm.cost.mean for arm in arms} == {None}
    assert all(arm.epochs.mean for arm in arms)
    for size in SIZES:
        elsewhere.advisor.conclude(elsewhere.job, "converged", batch_size=size, cost=EPOCHS[size] * 70.0)
    assert elsewhere.estimate(16)[0] == pytest.approx(14 * 70.0, rel=0.1)
