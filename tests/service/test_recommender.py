"""The recommender behind the service: what only shows where trials, placements and SQL meet."""

import pytest

from rheostat import service as use_cases
from rheostat.errors import NoBatchSizeLeft
from rheostat.schemas.server import Estimate, Gpu, JobUpdate, ObserveAnswer, ObserveRunRequest
from rheostat.service import Service
from tests.service.examples import A40, JOB, V100, predict, register, report

EPOCHS = {8: 9, 16: 4, 32: 6, 64: 9, 128: 40}
"""Epochs to the target; one of them costs 100 J everywhere, so 16 is the best."""


def train(service: Service, gpu: Gpu = V100, *, permitted: int | None = None) -> tuple[int, ObserveAnswer]:
    """Run a trial to its end; return its batch size and the last answer."""
    trial = predict(service, gpu, max_batch_size=permitted)
    needs = EPOCHS[trial.batch_size]
    epoch = 0
    while True:
        epoch += 1
        figures = {"energy_joules": 100.0 * epoch, "time_seconds": 0.4 * epoch}
        answer = report(service, trial, epoch, metric=0.9 * min(epoch / needs, 1.0), **figures)
        if answer.action == "stop":
            return trial.batch_size, answer


def arms(service: Service, placement: int = 0) -> dict[int, Estimate]:
    return {arm.batch_size: arm for arm in use_cases.estimates(service, JOB).placements[placement].arms}


@pytest.fixture(autouse=True)
def _job(service: Service) -> None:
    register(service, policy="rheostat", eta_knob=1.0)


def test_the_best_batch_size_is_found_and_the_estimates_show_it(service: Service) -> None:
    assert [train(service)[0] for _ in range(20)][-8:] == [16] * 8
    best = arms(service)[16]
    assert best.status == "best known"
    assert best.epochs == pytest.approx(4.0, rel=0.05)
    assert best.epoch_cost == pytest.approx(100.0, rel=0.01)
    assert best.probability_best is not None
    assert best.probability_best > 0.8


def test_a_stop_tells_its_reason_and_costs_less_than_the_best_run(service: Service) -> None:
    endings = [train(service)[1] for _ in range(15)]
    stops = [answer for answer in endings if answer.state == "stopped"]
    assert stops
    assert all("best known batch size" in answer.reason for answer in stops)


def test_a_second_gpu_starts_at_the_best_of_the_first(service: Service) -> None:
    for _ in range(15):
        train(service)
    assert predict(service, A40).batch_size == 16
    assert {train(service, A40)[0] for _ in range(6)} <= {8, 16, 32}
    assert [arm.runs for arm in arms(service, 1).values()] != [arm.runs for arm in arms(service).values()]


def test_a_smaller_gpu_gets_the_best_that_fits(service: Service) -> None:
    for _ in range(15):
        train(service)
    assert predict(service, A40, max_batch_size=8).batch_size == 8


def test_first_runs_that_fail_fall_to_smaller_ones_and_end_in_an_error_with_a_remedy(service: Service) -> None:
    failed = []
    for _ in range(10):
        trial = predict(service)
        failed.append(trial.batch_size)
        report(service, trial, 2, metric=0.1, energy_joules=200.0, time_seconds=2.0, outcome="failed")
    assert failed == [32, 16, 8, 64, 128] * 2
    with pytest.raises(NoBatchSizeLeft, match="no run of 8, 16, 32, 64, 128") as caught:
        predict(service)
    assert "PATCH batch_sizes" in caught.value.hint
    use_cases.update_job(service, JOB, JobUpdate(batch_sizes=[4, 8, 16, 32, 64, 128]))
    assert predict(service).batch_size == 4


def test_out_of_memory_in_the_first_run_falls_to_the_next_smaller(service: Service) -> None:
    report(service, predict(service), 0, outcome="oom")
    assert predict(service).batch_size == 16


def test_imported_costs_alone_are_learnt_from(service: Service) -> None:
    for size, joules in {8: 900.0, 16: 400.0, 32: 600.0, 64: 900.0}.items():
        for share in (0.98, 1.0, 1.02):
            run = ObserveRunRequest(batch_size=size, gpu=V100, cost=joules * share, converged=None)
            use_cases.observe_run(service, JOB, run, None)
    assert predict(service).batch_size == 16
    assert arms(service)[16].cost == pytest.approx(400.0, rel=0.1)


def test_another_eta_knob_prices_what_was_learnt_anew(service: Service) -> None:
    for _ in range(15):
        train(service)
    by_energy = arms(service)[32].epoch_cost
    use_cases.update_job(service, JOB, JobUpdate(eta_knob=0.0))
    by_time = arms(service)[32].epoch_cost
    assert by_energy == pytest.approx(100.0, rel=0.01)
    assert by_time == pytest.approx(0.4 * 250.0, rel=0.01)
    assert arms(service)[16].epochs == pytest.approx(4.0, rel=0.1)
