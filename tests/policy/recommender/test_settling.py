"""Worlds in which a stop or a closed arm once kept the best batch size out for good."""

from tests.policy.examples import a_job
from tests.policy.recommender.trainer import ACCURACY, Trainer


def a_long_job(bows: dict[int, float], epochs: dict[int, float] | None = None) -> Trainer:
    """Return a job of up to 758 epochs on four GPUs whose best batch size, 128, needs more of them than the default."""
    job = a_job(target=ACCURACY, max_epochs=758, gpu_count=4, max_power_watts=1200.0)
    joules = {8: 400.0, 16: 200.0, 32: 100.0, 64: 75.0, 128: 60.0}
    return Trainer(job=job, epochs=epochs or {8: 290, 16: 290, 32: 300, 64: 340, 128: 384}, joules=joules, bows=bows)


def test_a_run_that_shot_up_and_is_overdue_is_not_stopped_shortly_before_the_end_of_what_it_may_need() -> None:
    trainer = a_long_job({128: 0.1})
    assert trainer.recur(6)[-3:] == [128] * 3
    assert trainer.trials[1] == (128, 384, "converged")


def test_a_run_whose_metric_lags_behind_is_tried_again_when_it_was_stopped() -> None:
    trainer = a_long_job({128: 2.0})
    assert trainer.recur(75)[-5:] == [128] * 5


def test_early_evaluations_of_a_long_run_are_not_forgotten() -> None:
    trainer = a_long_job({})
    trainer.run(32)
    assert trainer.run(16) == "stopped"  # needs twice the cost, which its curve shows at once
    assert trainer.trials[-1][1] < 40


def test_what_lies_behind_a_failure_between_two_that_converged_is_tried() -> None:
    sizes = (20, 40, 80, 160)
    trainer = Trainer(
        job=a_job(target=ACCURACY, max_epochs=100, default_batch_size=160),
        sizes=sizes,
        epochs={20: 25, 80: 20, 160: 32},
        joules={20: 110.0},
    )
    for size in (160, 20, 40):
        trainer.run(size)
    assert trainer.trials[-1][0] == 40
    assert trainer.trials[-1][2] != "converged"
    assert trainer.recur(20)[-5:] == [80] * 5
