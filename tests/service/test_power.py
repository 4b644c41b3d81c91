"""Power limits: what was measured is there for whoever asks next."""

from rheostat import service as use_cases
from rheostat.schemas.server import PredictPowerLimitRequest
from rheostat.service import Service
from tests.domain.examples import JOB, V100
from tests.service.examples import measure, predict, register


def test_what_was_measured_is_known_to_the_next_trial(service: Service) -> None:
    register(service, eta_knob=1.0, power_limits_watts=[100, 175, 250])
    measure(service, 32, w250=300.0, w175=200.0, w100=250.0)
    trial = predict(service)
    assert (trial.batch_size, trial.power_limit_watts, trial.profile_power_limits_watts) == (32, 175, [])
    answer = use_cases.predict_power_limit(service, JOB, PredictPowerLimitRequest(batch_size=32, gpu=V100))
    assert (answer.power_limit_watts, answer.profile_power_limits_watts) == (175, [])
