"""Making trials: each once, numbered without gaps, and kept."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from rheostat import service as use_cases
from rheostat.errors import JobNotFound
from rheostat.service import Service
from tests.domain.examples import JOB, LEASE, V100, Clock
from tests.service.examples import predict, register


def test_the_first_trial_runs_the_default_and_says_why(service: Service, clock: Clock) -> None:
    register(service)
    trial = predict(service, node="gpu-7")
    assert (trial.number, trial.batch_size) == (1, 32)
    assert trial.lease_expires_at == clock() + LEASE
    assert "exploration" in trial.reason
    detail = use_cases.get_trial(service, trial.trial_id)
    assert (detail.state, detail.node, detail.gpu) == ("running", "gpu-7", V100)


def test_an_unregistered_job_has_no_trials(service: Service) -> None:
    with pytest.raises(JobNotFound, match="Register it first"):
        predict(service)


def test_concurrent_predicts_get_consecutive_numbers(service: Service) -> None:
    register(service)
    with ThreadPoolExecutor(8) as pool:
        trials = list(pool.map(lambda _: predict(service), range(24)))
    assert sorted(trial.number for trial in trials) == list(range(1, 25))


def test_the_same_idempotency_key_gives_the_same_trial(service: Service) -> None:
    register(service)
    first = predict(service, key="run-1")
    with ThreadPoolExecutor(4) as pool:
        repeated = list(pool.map(lambda _: predict(service, key="run-1"), range(4)))
    assert all(trial == first for trial in repeated)
    assert predict(service, key="run-2").number == 2


def test_an_arm_whose_trial_is_never_heard_of_again_is_tried_again(service: Service, clock: Clock) -> None:
    register(service)
    lost = predict(service)
    clock.turn(2 * LEASE)
    assert use_cases.get_trial(service, lost.trial_id).state == "abandoned"
    assert predict(service).batch_size == lost.batch_size
    page = use_cases.list_trials(service, JOB, state="abandoned", cursor=None, limit=10)
    assert [trial.trial_id for trial in page.trials] == [lost.trial_id]
