"""Power limits: what is measured, and what is best."""

import pytest
from pydantic import ValidationError

from rheostat import service as use_cases
from rheostat.errors import Conflict, InvalidInput, UnknownBatchSize
from rheostat.schemas.server import JobUpdate, ObservePowerLimitRequest, PowerLimitMeasurement, PredictPowerLimitRequest
from rheostat.service import Service
from tests.service.examples import A40, JOB, V100, measure, predict, register

LIMITS = [100, 175, 250]


def _ask(service: Service, batch_size: int = 32) -> tuple[int | None, list[int]]:
    answer = use_cases.predict_power_limit(service, JOB, PredictPowerLimitRequest(batch_size=batch_size, gpu=V100))
    return answer.power_limit_watts, answer.profile_power_limits_watts


def test_a_gpu_that_was_never_seen_is_to_be_measured_from_the_top(service: Service) -> None:
    register(service, power_limits_watts=LIMITS)
    assert _ask(service) == (None, [250, 175, 100])
    assert use_cases.get_job(service, JOB).placements == []


def test_a_sweep_may_come_in_parts_and_ends_with_the_best_limit(service: Service) -> None:
    register(service, eta_knob=1.0, power_limits_watts=LIMITS)
    part = measure(service, 32, w250=300.0)
    assert (part.power_limit_watts, part.profile_power_limits_watts) == (None, [175, 100])
    done = measure(service, 32, w175=200.0, w100=250.0)
    assert (done.power_limit_watts, done.profile_power_limits_watts) == (175, [])
    assert _ask(service) == (175, [])
    assert _ask(service, 64) == (None, [250, 175, 100])


def test_a_bare_cost_serves_as_well(service: Service) -> None:
    register(service, power_limits_watts=LIMITS)
    costs = {250: 30.0, 175: 20.0, 100: 25.0}
    measurements = [PowerLimitMeasurement(power_limit_watts=limit, cost=cost) for limit, cost in costs.items()]
    request = ObservePowerLimitRequest(batch_size=32, gpu=V100, measurements=measurements)
    assert use_cases.observe_power_limit(service, JOB, request).power_limit_watts == 175


def test_the_slowdown_allowed_rules_out_the_frugal_limit(service: Service) -> None:
    register(service, eta_knob=1.0, max_slowdown=1.2, power_limits_watts=LIMITS)
    figures = {250: (1.0, 300.0), 175: (1.1, 250.0), 100: (2.0, 200.0)}
    measurements = [
        PowerLimitMeasurement(power_limit_watts=limit, time_seconds=seconds, energy_joules=joules, steps=10)
        for limit, (seconds, joules) in figures.items()
    ]
    request = ObservePowerLimitRequest(batch_size=32, gpu=V100, measurements=measurements)
    assert use_cases.observe_power_limit(service, JOB, request).power_limit_watts == 175


@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
@pytest.mark.parametrize(
    "figures",
    [
        {"time_seconds": 1e10, "energy_joules": 1e15, "steps": 1e-3, "steps_per_epoch": 1e12},
        {"time_seconds": 1e-9, "energy_joules": 1e-9, "steps": 1e12, "steps_per_epoch": 1e-3},
        {"cost": 1e15},
        {"cost": 1e-9},
    ],
)
def test_no_figure_that_is_taken_keeps_a_job_from_being_changed(
    service: Service, policy: str, figures: dict[str, float]
) -> None:
    limits = [100, 125, 150, 175, 200, 225, 250]
    register(service, power_limits_watts=limits, policy=policy)
    measurements = [PowerLimitMeasurement(power_limit_watts=limit, **figures) for limit in reversed(limits)]
    request = ObservePowerLimitRequest(batch_size=32, gpu=V100, measurements=measurements)
    use_cases.observe_power_limit(service, JOB, request)
    for changes in ({"eta_knob": 0.9}, {"policy": "zeus"}, {"policy": "rheostat"}):
        use_cases.update_job(service, JOB, JobUpdate.model_validate(changes))
        predict(service, V100)
        use_cases.estimates(service, JOB)
    assert use_cases.rebuild_job(service, JOB) == len(limits)


@pytest.mark.parametrize("field", ["steps", "steps_per_epoch"])
def test_next_to_no_steps_are_refused_for_figures_are_divided_by_them(field: str) -> None:
    figures = {"time_seconds": 1.0, "energy_joules": 1.0, "steps": 10.0, "steps_per_epoch": 10.0} | {field: 1e-300}
    with pytest.raises(ValidationError, match=field):
        PowerLimitMeasurement(power_limit_watts=250, **figures)


def test_what_was_measured_is_known_to_the_next_trial(service: Service) -> None:
    register(service, eta_knob=1.0, power_limits_watts=LIMITS)
    measure(service, 32, w250=300.0, w175=200.0, w100=250.0)
    trial = predict(service)
    assert (trial.batch_size, trial.power_limit_watts, trial.profile_power_limits_watts) == (32, 175, [])


def test_gpus_are_measured_apart(service: Service) -> None:
    register(service, eta_knob=1.0, power_limits_watts=LIMITS)
    measure(service, 32, V100, w250=300.0, w175=200.0, w100=250.0)
    assert measure(service, 32, A40, w250=300.0).power_limit_watts is None


def test_a_batch_size_that_the_job_does_not_have_is_refused_by_name(service: Service) -> None:
    register(service)
    with pytest.raises(UnknownBatchSize, match="33") as refused:
        measure(service, 33, w250=300.0)
    assert refused.value.fields[0].field == "batch_size"
    with pytest.raises(UnknownBatchSize):
        _ask(service, 33)


def test_a_limit_that_the_gpu_cannot_have_is_refused_by_its_place(service: Service) -> None:
    register(service)
    with pytest.raises(InvalidInput) as refused:
        measure(service, 32, w250=300.0, w300=300.0)
    assert refused.value.fields[0].field == "measurements.1.power_limit_watts"
    assert use_cases.get_job(service, JOB).placements == []


def test_figures_of_a_step_and_of_an_epoch_are_not_mixed(service: Service) -> None:
    register(service)
    measure(service, 32, w250=300.0)
    of_a_step = PowerLimitMeasurement(power_limit_watts=100, time_seconds=1.0, energy_joules=100.0, steps=10)
    request = ObservePowerLimitRequest(batch_size=32, gpu=V100, measurements=[of_a_step])
    with pytest.raises(Conflict, match="steps_per_epoch"):
        use_cases.observe_power_limit(service, JOB, request)
