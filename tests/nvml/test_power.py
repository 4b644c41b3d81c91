"""What the fake shows of a GPU's power and how long that takes, as measured on a real one (docs/hardware.md)."""

from collections.abc import Iterator
from itertools import pairwise
from statistics import median, quantiles
from typing import Any

import pytest

from tests.nvml.fake import NOT_SUPPORTED, UNKNOWN, Call, FakeNvml, pynvml


@pytest.fixture
def nvml(fake: FakeNvml) -> Iterator[Any]:
    """The real pynvml, initialised over the fake, whose time the test drives."""
    module = pynvml()
    module.nvmlInit()
    fake.advance(0)
    yield module
    module.nvmlShutdown()


@pytest.fixture
def handle(nvml: Any) -> Any:
    return nvml.nvmlDeviceGetHandleByIndex(0)


def samples_of(nvml: Any, handle: Any, since_us: int = 0) -> list[tuple[int, int]]:
    _, samples = nvml.nvmlDeviceGetSamples(handle, nvml.NVML_TOTAL_POWER_SAMPLES, since_us)
    return [(sample.timeStamp, sample.sampleValue.uiVal) for sample in samples]


def milliseconds(fake: FakeNvml, call: Any) -> float:
    begin_ns = fake.now_ns()
    call()
    return (fake.now_ns() - begin_ns) / 1e6


def test_samples_cover_the_last_seconds_in_wall_clock_time(nvml: Any, handle: Any, fake: FakeNvml) -> None:
    fake.gpus[0].load(0.5)
    fake.advance(5)
    samples = samples_of(nvml, handle)
    gaps_ms = [(after - before) / 1000 for (before, _), (after, _) in pairwise(samples)]
    assert len(samples) == 119
    assert 17 <= min(gaps_ms) < max(gaps_ms) <= 23
    assert 8 <= fake.wall_ns() / 1e6 - samples[-1][0] / 1e3 < 32
    assert samples[-1][1] / 1000 == pytest.approx(165, rel=0.02)


def test_only_samples_after_the_last_one_seen_are_returned(nvml: Any, handle: Any, fake: FakeNvml) -> None:
    fake.advance(1)
    last = samples_of(nvml, handle)[-1][0]
    with pytest.raises(nvml.NVMLError_NotFound):
        samples_of(nvml, handle, last)
    fake.advance(0.1)
    assert [time for time, _ in samples_of(nvml, handle, last)] == [
        time for time, _ in samples_of(nvml, handle) if time > last
    ]


def test_the_integral_of_the_samples_is_the_energy(nvml: Any, handle: Any, fake: FakeNvml) -> None:
    gpu = fake.gpus[0]
    gpu.wave(0.2, 0.9, period_ms=700, high_ms=400, ramp_ms=40)
    fake.advance(5)
    samples = samples_of(nvml, handle)
    joules = sum((a[1] + b[1]) / 2000 * (b[0] - a[0]) / 1e6 for a, b in pairwise(samples))
    first_ns, last_ns = (fake.now_ns() - fake.wall_ns() + sample[0] * 1000 for sample in (samples[0], samples[-1]))
    assert joules == pytest.approx(gpu.energy_joules(last_ns) - gpu.energy_joules(first_ns), rel=0.01)


def test_a_clock_that_is_set_changes_the_stamps_of_later_samples_only(nvml: Any, handle: Any, fake: FakeNvml) -> None:
    fake.advance(3)
    before = samples_of(nvml, handle)
    fake.set_wall(-3600)
    fake.advance(1)
    after = samples_of(nvml, handle)
    assert set(before) & set(after)
    assert after[-1][0] - before[-1][0] == pytest.approx(-3599e6, abs=1e5)


def test_power_fields_are_instant_and_average_and_each_may_be_missing(nvml: Any, handle: Any, fake: FakeNvml) -> None:
    gpu = fake.gpus[0]
    ids = [nvml.NVML_FI_DEV_POWER_INSTANT, nvml.NVML_FI_DEV_POWER_AVERAGE, nvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION]
    fake.advance(1)
    gpu.load(1)
    fake.advance(0.5)
    instant, average, energy = nvml.nvmlDeviceGetFieldValues(handle, ids)
    assert instant.value.uiVal / 1000 == pytest.approx(290, rel=0.01)
    assert average.value.uiVal / 1000 == pytest.approx(165, rel=0.02)
    assert energy.value.ullVal == nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    gpu.fail(Call.GET_INSTANT, NOT_SUPPORTED)
    assert [field.nvmlReturn for field in nvml.nvmlDeviceGetFieldValues(handle, ids)] == [NOT_SUPPORTED, 0, 0]


def test_a_module_draws_more_than_its_gpu(nvml: Any, handle: Any, fake: FakeNvml) -> None:
    scopes = [(nvml.NVML_FI_DEV_POWER_CURRENT_LIMIT, scope) for scope in range(2)]
    assert [field.nvmlReturn for field in nvml.nvmlDeviceGetFieldValues(handle, scopes)] == [0, NOT_SUPPORTED]
    fake.gpus[0].state.has_module = 1
    assert [field.value.uiVal for field in nvml.nvmlDeviceGetFieldValues(handle, scopes)] == [300_000, 400_000]


def test_calls_take_as_long_as_on_a_real_gpu(nvml: Any, handle: Any, fake: FakeNvml) -> None:
    fake.be_real()

    def energy() -> None:
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)

    assert milliseconds(fake, energy) == pytest.approx(3.9)
    fake.gpus[0].load(1)
    took = [milliseconds(fake, energy) for _ in range(2000)]
    assert median(took) == pytest.approx(3.2, rel=0.05)
    assert quantiles(took, n=10)[-1] == pytest.approx(9.5, rel=0.1)
    assert 15 < max(took) <= 26
    assert milliseconds(fake, lambda: samples_of(nvml, handle)) == pytest.approx(0.5, rel=0.9)
    assert milliseconds(fake, lambda: nvml.nvmlDeviceGetPowerUsage(handle)) < 0.1


def test_ticks_are_as_irregular_as_on_a_real_gpu(nvml: Any, handle: Any, fake: FakeNvml) -> None:
    fake.be_real()
    fake.gpus[0].state.latencies[Call.GET_ENERGY].idle_microseconds = 0
    ticks, last = [], nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    for _ in range(5000):
        fake.advance(0.001)
        if (value := nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) != last:
            ticks.append(fake.now_ns() / 1e6)
            last = value
    gaps_ms = [after - before for before, after in pairwise(ticks)]
    assert 96.5 < min(gaps_ms) < 99
    assert 101 < max(gaps_ms) < 103.5


def test_a_counter_may_jump_and_a_call_may_fail_now_and_then(nvml: Any, handle: Any, fake: FakeNvml) -> None:
    gpu = fake.gpus[0]
    fake.advance(1)
    gpu.add_to_counter(1e6)
    assert nvml.nvmlDeviceGetTotalEnergyConsumption(handle) >= 1e9
    gpu.add_to_counter(-2e6)
    assert nvml.nvmlDeviceGetTotalEnergyConsumption(handle) == 0
    gpu.fail(Call.GET_ENERGY, UNKNOWN, per_mille=300)
    failed = 0
    for _ in range(500):
        try:
            nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except nvml.NVMLError_Unknown:
            failed += 1
    assert 100 < failed < 200


def test_a_driver_may_round_limits(nvml: Any, handle: Any, fake: FakeNvml) -> None:
    fake.gpus[0].state.rounding_mw = 5000
    nvml.nvmlDeviceSetPowerManagementLimit(handle, 187_654)
    assert nvml.nvmlDeviceGetPowerManagementLimit(handle) == 185_000
