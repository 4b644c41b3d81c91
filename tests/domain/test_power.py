"""Power limits: which to measure, what is learned from it, and what is refused."""

import pytest
from pydantic import ValidationError

from rheostat.domain import policy_states
from rheostat.domain.policy_states import state_text
from rheostat.errors import Conflict, InvalidInput, KeyReused, UnknownBatchSize
from rheostat.policy.interface import State
from rheostat.schemas.power import PowerLimitMeasurement
from tests.domain.examples import A40, V100, ExampleJob, measurements_of

LIMITS = [100, 175, 250]


def _ask(job: ExampleJob, batch_size: int = 32) -> tuple[int | None, list[int]]:
    answer = job.power_limit(batch_size)
    return answer.power_limit_watts, answer.profile_power_limits_watts


def test_a_gpu_that_was_never_seen_is_to_be_measured_from_the_top() -> None:
    job = ExampleJob(power_limits_watts=LIMITS)
    assert _ask(job) == (None, [250, 175, 100])
    assert job.detail.placements == []


def test_a_sweep_may_come_in_parts_and_ends_with_the_best_limit() -> None:
    job = ExampleJob(eta_knob=1.0, power_limits_watts=LIMITS)
    part = job.measure(32, w250=300.0)
    assert (part.power_limit_watts, part.profile_power_limits_watts) == (None, [175, 100])
    done = job.measure(32, w175=200.0, w100=250.0)
    assert (done.power_limit_watts, done.profile_power_limits_watts) == (175, [])
    assert _ask(job) == (175, [])
    assert _ask(job, 64) == (None, [250, 175, 100])


def test_the_measurements_of_a_request_are_learned_together(monkeypatch: pytest.MonkeyPatch) -> None:
    job = ExampleJob(policy="rheostat")
    encoded = 0

    def counted(state: State) -> str:
        nonlocal encoded
        encoded += 1
        return state_text(state)

    monkeypatch.setattr(policy_states, "state_text", counted)
    costs = []
    for parts in (1, 16):
        encoded = 0
        measurements = measurements_of(w250=30.0, w200=24.0, w150=20.0, w100=25.0) * parts
        job.measured(32, V100, measurements)
        costs.append(encoded)
    assert 0 < costs[1] <= costs[0]


def test_a_bare_cost_serves_as_well() -> None:
    job = ExampleJob(power_limits_watts=LIMITS)
    costs = {250: 30.0, 175: 20.0, 100: 25.0}
    measurements = [PowerLimitMeasurement(power_limit_watts=limit, cost=cost) for limit, cost in costs.items()]
    assert job.measured(32, V100, measurements).power_limit_watts == 175


def test_the_slowdown_allowed_rules_out_the_frugal_limit() -> None:
    job = ExampleJob(eta_knob=1.0, max_slowdown=1.2, power_limits_watts=LIMITS)
    figures = {250: (1.0, 300.0), 175: (1.1, 250.0), 100: (2.0, 200.0)}
    measurements = [
        PowerLimitMeasurement(power_limit_watts=limit, time_seconds=seconds, energy_joules=joules, steps=10)
        for limit, (seconds, joules) in figures.items()
    ]
    assert job.measured(32, V100, measurements).power_limit_watts == 175


def test_gpus_are_measured_apart() -> None:
    job = ExampleJob(eta_knob=1.0, power_limits_watts=LIMITS)
    job.measure(32, V100, w250=300.0, w175=200.0, w100=250.0)
    assert job.measure(32, A40, w250=300.0).power_limit_watts is None


def test_a_batch_size_that_the_job_does_not_have_is_refused_by_name() -> None:
    job = ExampleJob()
    with pytest.raises(UnknownBatchSize, match="33") as refused:
        job.measure(33, w250=300.0)
    assert refused.value.fields[0].field == "batch_size"
    with pytest.raises(UnknownBatchSize):
        _ask(job, 33)


def test_a_limit_that_the_gpu_cannot_have_is_refused_by_its_place() -> None:
    job = ExampleJob()
    with pytest.raises(InvalidInput) as refused:
        job.measure(32, w250=300.0, w300=300.0)
    assert refused.value.fields[0].field == "measurements.1.power_limit_watts"
    assert job.detail.placements == []


def test_figures_of_a_step_and_of_an_epoch_are_not_mixed() -> None:
    job = ExampleJob()
    job.measure(32, w250=300.0)
    of_a_step = PowerLimitMeasurement(power_limit_watts=100, time_seconds=1.0, energy_joules=100.0, steps=10)
    with pytest.raises(Conflict, match="steps_per_epoch"):
        job.measured(32, V100, [of_a_step])


@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
@pytest.mark.parametrize(
    "figures",
    [
        {"time_seconds": 1e10, "energy_joules": 2e13, "steps": 1e-3, "steps_per_epoch": 1e12},
        {"time_seconds": 1e-9, "energy_joules": 1e-9, "steps": 1e12, "steps_per_epoch": 1e-3},
        {"cost": 1e15},
        {"cost": 1e-9},
    ],
)
def test_no_figure_that_is_taken_keeps_a_job_from_being_changed(policy: str, figures: dict[str, float]) -> None:
    limits = [100, 125, 150, 175, 200, 225, 250]
    job = ExampleJob(power_limits_watts=limits, policy=policy)
    job.measured(32, V100, [PowerLimitMeasurement(power_limit_watts=limit, **figures) for limit in reversed(limits)])
    for changes in ({"eta_knob": 0.9}, {"policy": "zeus"}, {"policy": "rheostat"}):
        job.update(**changes)
        job.predict(V100)
        job.arms()
    assert job.rebuild() == len(limits)


@pytest.mark.parametrize("field", ["steps", "steps_per_epoch"])
def test_next_to_no_steps_are_refused_for_figures_are_divided_by_them(field: str) -> None:
    figures = {"time_seconds": 1.0, "energy_joules": 1.0, "steps": 10.0, "steps_per_epoch": 10.0} | {field: 1e-300}
    with pytest.raises(ValidationError, match=field):
        PowerLimitMeasurement(power_limit_watts=250, **figures)


def test_the_same_key_records_measurements_once_and_only_the_same_ones() -> None:
    job = ExampleJob()
    slices = measurements_of(w250=100.0, w200=90.0)
    first = job.measured(32, V100, slices, key="sweep-1")
    before = job.value
    assert job.measured(32, V100, slices, key="sweep-1") == first
    assert job.value is before
    for size, gpu, other, field in (
        (32, V100, measurements_of(w250=100.0, w200=91.0), "measurements"),
        (32, V100, slices[:1], "measurements"),
        (16, V100, slices, "batch_size"),
        (32, A40, slices, "gpu"),
    ):
        with pytest.raises(KeyReused) as refused:
            job.measured(size, gpu, other, key="sweep-1")
        assert [error.field for error in refused.value.fields] == [field]
    assert job.value is before
    job.measured(32, V100, slices, key="sweep-2")
    job.measured(32, V100, slices)
    assert len(job.read(lambda _, history: history.evidence())) == 6
