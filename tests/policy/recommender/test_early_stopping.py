"""Early stopping: what a running trial is stopped for, and when none is stopped."""

from rheostat.policy.learning_curve import LearningCurve
from tests.policy.examples import a_job
from tests.policy.recommender.trainer import ACCURACY, EPOCHS, SIZES, Trainer


def test_a_run_far_off_the_target_is_stopped_long_before_its_cost_bound_and_the_reason_says_why() -> None:
    trainer = Trainer()
    trainer.run(32)
    assert trainer.run(128) == "stopped"
    assert trainer.trials[-1][1] < 18
    curve = LearningCurve().add(6.0, 0.05, ACCURACY)
    verdict = trainer.advisor.assess(trainer.job, batch_size=64, epoch=6.0, metric=0.05, cost=600.0, curve=curve)
    assert (verdict.state, "learning curve" in verdict.reason) == ("stopped", True)


def test_without_a_beta_knob_no_run_is_stopped() -> None:
    trainer = Trainer(job=a_job(target=ACCURACY, beta_knob=None))
    trainer.run(32)
    assert trainer.run(128) == "converged"


def test_one_run_that_claims_a_thousandth_of_the_epochs_stops_no_other() -> None:
    trainer = Trainer()
    trainer.recur(8)
    trainer.run(64, epochs_factor=1e-3)
    assert trainer.run(16) == "converged"
    assert trainer.run(32) == "converged"


def test_after_many_runs_that_did_not_converge_none_is_stopped() -> None:
    trainer = Trainer()
    trainer.recur(20)
    trainer.epochs = {size: epochs * 5 for size, epochs in EPOCHS.items()}
    assert trainer.recur(6)[-1] in SIZES
    assert sum(state == "stopped" for _, _, state in trainer.trials[-15:]) <= 8


def test_imported_costs_without_epochs_stop_no_run() -> None:
    trainer = Trainer(with_power=False)
    for _ in range(2):
        trainer.advisor.conclude(trainer.job, None, batch_size=32, cost=1800.0)
    curve = LearningCurve().add(1.0, 0.05, ACCURACY)
    verdict = trainer.advisor.assess(trainer.job, batch_size=16, epoch=1.0, metric=0.05, cost=100.0, curve=curve)
    assert verdict.state == "running"
    dear = trainer.advisor.assess(trainer.job, batch_size=16, epoch=40.0, metric=0.05, cost=4000.0, curve=curve)
    assert dear.state == "running"
