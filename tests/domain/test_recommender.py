"""The recommender behind the decisions: what only shows where trials and placements meet."""

import pytest

from rheostat.errors import NoBatchSizeLeft
from rheostat.schemas.server import Gpu
from rheostat.schemas.trials import ObserveAnswer
from tests.domain.examples import A40, V100, ExampleJob

EPOCHS = {8: 5, 16: 4, 32: 6, 64: 9, 128: 40}
"""Epochs to the target; one of them costs 100 J everywhere, so 16 is the best."""


@pytest.fixture
def job() -> ExampleJob:
    return ExampleJob(policy="rheostat", eta_knob=1.0)


def train(job: ExampleJob, gpu: Gpu = V100, *, permitted: int | None = None) -> tuple[int, ObserveAnswer]:
    """Run a trial to its end; return its batch size and the last answer."""
    trial = job.predict(gpu, max_batch_size=permitted)
    needs = EPOCHS[trial.batch_size]
    epoch = 0
    while True:
        epoch += 1
        figures = {"energy_joules": 100.0 * epoch, "time_seconds": 0.4 * epoch}
        answer = job.report(trial, epoch, metric=0.9 * min(epoch / needs, 1.0), **figures)
        if answer.action == "stop":
            return trial.batch_size, answer


def test_the_best_batch_size_is_found_and_the_estimates_show_it(job: ExampleJob) -> None:
    assert [train(job)[0] for _ in range(20)][-8:] == [16] * 8
    best = job.arms()[16]
    assert best.status == "best known"
    assert best.epochs == pytest.approx(4.0, rel=0.05)
    assert best.epoch_cost == pytest.approx(100.0, rel=0.01)
    assert best.probability_best is not None
    assert best.probability_best > 0.8


def test_a_stop_gives_its_reason_and_costs_less_than_the_best_run(job: ExampleJob) -> None:
    endings = [train(job)[1] for _ in range(15)]
    stops = [answer for answer in endings if answer.state == "stopped"]
    assert stops
    assert all("best known batch size" in answer.reason for answer in stops)


def test_a_second_gpu_starts_at_the_best_of_the_first(job: ExampleJob) -> None:
    for _ in range(15):
        train(job)
    assert job.predict(A40).batch_size == 16
    assert {train(job, A40)[0] for _ in range(6)} <= {8, 16, 32}
    assert [arm.runs for arm in job.arms(1).values()] != [arm.runs for arm in job.arms().values()]


def test_a_smaller_gpu_gets_the_best_that_fits(job: ExampleJob) -> None:
    for _ in range(15):
        train(job)
    assert job.predict(A40, max_batch_size=8).batch_size == 8


def test_first_runs_that_fail_fall_to_smaller_ones_and_end_in_an_error_with_a_remedy(job: ExampleJob) -> None:
    failed = []
    for _ in range(10):
        trial = job.predict()
        failed.append(trial.batch_size)
        job.report(trial, 2, metric=0.1, energy_joules=200.0, time_seconds=2.0, outcome="failed")
    assert failed == [32, 16, 8, 64, 128] * 2
    with pytest.raises(NoBatchSizeLeft, match="no run of 8, 16, 32, 64, 128") as caught:
        job.predict()
    assert "PATCH batch_sizes" in caught.value.hint
    job.update(batch_sizes=[4, 8, 16, 32, 64, 128])
    assert job.predict().batch_size == 4


def test_out_of_memory_in_the_first_run_falls_to_the_next_smaller(job: ExampleJob) -> None:
    job.report(job.predict(), 0, outcome="oom")
    assert job.predict().batch_size == 16


def test_imported_costs_alone_are_learned_from(job: ExampleJob) -> None:
    for size, joules in {8: 900.0, 16: 400.0, 32: 600.0, 64: 900.0}.items():
        for share in (0.98, 1.0, 1.02):
            job.import_run(size, cost=joules * share, converged=None)
    assert job.predict().batch_size == 16
    assert job.arms()[16].cost == pytest.approx(400.0, rel=0.1)


def test_another_eta_knob_prices_again_what_was_learned(job: ExampleJob) -> None:
    for _ in range(15):
        train(job)
    by_energy = job.arms()[32].epoch_cost
    job.update(eta_knob=0.0)
    by_time = job.arms()[32].epoch_cost
    assert by_energy == pytest.approx(100.0, rel=0.01)
    assert by_time == pytest.approx(0.4 * 250.0, rel=0.01)
    assert job.arms()[16].epochs == pytest.approx(4.0, rel=0.1)
