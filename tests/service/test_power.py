"""Power limits: what was measured is there for whoever asks next."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from rheostat import service as use_cases
from rheostat.errors import KeyReused
from rheostat.schemas.power import PredictPowerLimitRequest
from rheostat.schemas.server import Gpu
from rheostat.service import Service
from tests.domain.examples import JOB, V100
from tests.service.examples import converge, done, measure, predict, register, restarted


def test_what_was_measured_is_known_to_the_next_trial(service: Service) -> None:
    register(service, eta_knob=1.0, power_limits_watts=[100, 175, 250])
    measure(service, 32, w250=300.0, w175=200.0, w100=250.0)
    trial = predict(service)
    assert (trial.batch_size, trial.power_limit_watts, trial.profile_power_limits_watts) == (32, 175, [])
    answer = use_cases.predict_power_limit(service, JOB, PredictPowerLimitRequest(batch_size=32, gpu=V100))
    assert (answer.power_limit_watts, answer.profile_power_limits_watts) == (175, [])


def test_measurements_that_come_twice_under_one_key_are_stored_once(service: Service) -> None:
    register(service, eta_knob=1.0, power_limits_watts=[100, 175, 250])
    first = measure(service, 32, key="sweep-1", w250=300.0, w175=200.0)
    assert measure(service, 32, key="sweep-1", w250=300.0, w175=200.0) == first
    with pytest.raises(KeyReused):
        measure(service, 32, key="sweep-1", w250=300.0)
    assert done(use_cases.rebuild_job(service, JOB)) == 2


def test_eight_simultaneous_requests_of_one_key_are_one_measurement(service: Service) -> None:
    register(service, eta_knob=1.0, power_limits_watts=[100, 175, 250])
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: measure(service, 32, key="sweep-1", w250=300.0), range(8)))
    assert all(answer == answers[0] for answer in answers)
    assert done(use_cases.rebuild_job(service, JOB)) == 1


def test_a_gpu_whose_limits_are_unknown_keeps_its_placement_when_they_become_known(service: Service) -> None:
    register(service)
    unlimited = Gpu(model="V100", enforced_limit_watts=200)
    trial = predict(service, unlimited)
    assert (trial.power_limit_watts, trial.profile_power_limits_watts) == (None, [])
    converge(service, trial, 100.0)
    shown = use_cases.get_trial(service, trial.trial_id)
    assert (shown.gpu, shown.cost) == (unlimited, 0.5 * 100.0 + 0.5 * 200.0)
    assert predict(restarted(service), V100).profile_power_limits_watts[0] == 250
    service = restarted(service)
    assert [placement.gpu for placement in use_cases.get_job(service, JOB).placements] == [V100]
    assert use_cases.get_trial(service, trial.trial_id).cost == 0.5 * 100.0 + 0.5 * 250.0


def test_placements_of_another_power_scope_or_profile_are_stored_apart(service: Service) -> None:
    register(service)
    gpus = [V100, *(V100.model_copy(update=u) for u in ({"power_scope": "module"}, {"power_profile": "Max-Q"}))]
    for gpu in (*gpus, *gpus):
        predict(service, gpu)
    assert [placement.gpu for placement in use_cases.get_job(restarted(service), JOB).placements] == gpus
