"""The fake behaves as NVML does, seen through the real pynvml."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from time import sleep
from typing import Any

import pytest

from tests.nvml.fake import HW_SLOWDOWN, NO_PERMISSION, NOT_SUPPORTED, Call, FakeNvml, pynvml
from tests.waiting import PATIENCE_SECONDS, eventually


@pytest.fixture
def nvml(fake: FakeNvml) -> Iterator[Any]:
    """The real pynvml, initialised over the fake."""
    module = pynvml()
    module.nvmlInit()
    assert fake.world.gpu_count == module.nvmlDeviceGetCount()
    yield module
    module.nvmlShutdown()


def test_a_gpu_reports_its_identity_and_its_limits(nvml: Any, fake: FakeNvml) -> None:
    handle = nvml.nvmlDeviceGetHandleByIndex(1)
    assert nvml.nvmlDeviceGetUUID(handle) == fake.gpus[1].uuid
    assert nvml.nvmlDeviceGetName(handle) == "Fake V100"
    assert nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle) == [100_000, 300_000]
    assert nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle) == 300_000
    with pytest.raises(nvml.NVMLError_NotSupported):
        nvml.nvmlDeviceGetMigMode(handle)


def test_a_limit_that_one_process_sets_is_seen_by_another(nvml: Any, fake: FakeNvml) -> None:
    program = """
import pynvml
pynvml.nvmlInit()
pynvml.nvmlDeviceSetPowerManagementLimit(pynvml.nvmlDeviceGetHandleByIndex(0), 175_000)
"""
    environment = {**os.environ, **fake.environment()}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=PATIENCE_SECONDS)
    assert nvml.nvmlDeviceGetPowerManagementLimit(nvml.nvmlDeviceGetHandleByIndex(0)) == 175_000
    assert fake.gpus[0].sets_watts() == [175]
    assert fake.gpus[1].limit_watts == 300


def test_a_limit_out_of_range_is_refused(nvml: Any) -> None:
    with pytest.raises(nvml.NVMLError_InvalidArgument):
        nvml.nvmlDeviceSetPowerManagementLimit(nvml.nvmlDeviceGetHandleByIndex(0), 99_999)


def test_only_the_administrator_may_set_a_limit(nvml: Any, fake: FakeNvml) -> None:
    fake.world.admin_uid = os.geteuid() + 1
    with pytest.raises(nvml.NVMLError_NoPermission):
        nvml.nvmlDeviceSetPowerManagementLimit(nvml.nvmlDeviceGetHandleByIndex(0), 200_000)
    assert fake.gpus[0].limit_watts == 300


def test_the_energy_counter_ticks_every_tenth_of_a_second_and_is_true_at_its_ticks(nvml: Any, fake: FakeNvml) -> None:
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    fake.advance(0)
    fake.gpus[0].load(1)
    ticks, values = [], [nvml.nvmlDeviceGetTotalEnergyConsumption(handle)]
    for _ in range(650):
        fake.advance(0.001)
        value = nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        if value != values[-1]:
            assert fake.gpus[0].energy_joules() - value / 1000 == pytest.approx(0, abs=0.3)  # 290 W for at most 1 ms
            ticks.append(fake.now_ns())
            values.append(value)
    assert 6 <= len(ticks) <= 7
    assert {round((tick - before) / 1e6) for before, tick in pairwise(ticks)} == {100}


def test_power_usage_is_the_mean_of_the_last_second(nvml: Any, fake: FakeNvml) -> None:
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    fake.advance(0)
    idle = nvml.nvmlDeviceGetPowerUsage(handle) / 1000
    fake.gpus[0].load(1)
    fake.advance(0.5)
    assert nvml.nvmlDeviceGetPowerUsage(handle) / 1000 == pytest.approx((idle + 290) / 2, rel=0.02)
    fake.advance(0.6)
    assert nvml.nvmlDeviceGetPowerUsage(handle) / 1000 == pytest.approx(290, rel=0.02)


def test_without_a_test_that_drives_it_time_goes_on_by_itself(fake: FakeNvml) -> None:
    before = fake.gpus[0].energy_joules()
    eventually(lambda: fake.gpus[0].energy_joules() > before)
    fake.advance(0)
    stopped = fake.gpus[0].energy_joules()
    sleep(0.02)
    assert fake.gpus[0].energy_joules() == stopped


def test_a_lower_limit_costs_less_throughput_than_it_saves_power(fake: FakeNvml) -> None:
    fast, slow = fake.gpus
    fake.advance(0)
    slow.limit_watts = 150
    fast.load(1)
    slow.load(1)
    before = [(gpu.work(), gpu.energy_joules()) for gpu in fake.gpus]
    fake.advance(0.3)
    work, energy = zip(
        *((gpu.work() - was[0], gpu.energy_joules() - was[1]) for gpu, was in zip(fake.gpus, before, strict=True)),
        strict=True,
    )
    assert 1 < work[0] / work[1] < energy[0] / energy[1]


def test_a_hot_gpu_slows_down_and_says_so(nvml: Any, fake: FakeNvml) -> None:
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    fake.gpus[0].load(1)
    fake.gpus[0].state.temperature_celsius = 95
    fake.gpus[0].state.forced_reasons = HW_SLOWDOWN
    reasons = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
    assert reasons & nvml.nvmlClocksThrottleReasonSwThermalSlowdown
    assert reasons & nvml.nvmlClocksThrottleReasonHwSlowdown


def test_temperature_drifts_with_power(nvml: Any, fake: FakeNvml) -> None:
    fake.gpus[0].load(1)
    fake.advance(60)
    nvml.nvmlDeviceGetPowerUsage(nvml.nvmlDeviceGetHandleByIndex(0))
    assert fake.gpus[0].state.temperature_celsius > 60


def test_a_call_fails_as_often_as_the_test_says(nvml: Any, fake: FakeNvml) -> None:
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    fake.gpus[0].fail(Call.GET_LIMIT, NO_PERMISSION, times=2, after=1)
    assert nvml.nvmlDeviceGetPowerManagementLimit(handle) == 300_000
    for _ in range(2):
        with pytest.raises(nvml.NVMLError_NoPermission):
            nvml.nvmlDeviceGetPowerManagementLimit(handle)
    assert nvml.nvmlDeviceGetPowerManagementLimit(handle) == 300_000


def test_a_call_that_hangs_blocks_neither_the_other_gpu_nor_the_interpreter(nvml: Any, fake: FakeNvml) -> None:
    hung, other = (nvml.nvmlDeviceGetHandleByIndex(index) for index in range(2))
    fake.gpus[0].hang(Call.GET_POWER)
    caller = threading.Thread(target=nvml.nvmlDeviceGetPowerUsage, args=(hung,))
    caller.start()
    assert nvml.nvmlDeviceGetPowerUsage(other) > 0
    assert caller.is_alive()
    fake.gpus[0].hang(Call.GET_POWER, hangs=False)
    caller.join(PATIENCE_SECONDS)
    assert not caller.is_alive()


def test_a_lost_gpu_and_a_reloaded_driver_return_their_own_errors(nvml: Any, fake: FakeNvml) -> None:
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    fake.gpus[0].lose()
    with pytest.raises(nvml.NVMLError_GpuIsLost):
        nvml.nvmlDeviceGetPowerManagementLimit(handle)
    fake.gpus[0].heal()
    fake.reload_driver()
    with pytest.raises(nvml.NVMLError_LibRmVersionMismatch):
        nvml.nvmlDeviceGetPowerManagementLimit(handle)
    fake.world.driver_reloaded = 0


def test_a_counter_that_an_old_gpu_does_not_have_is_not_supported(nvml: Any, fake: FakeNvml) -> None:
    fake.gpus[0].fail(Call.GET_ENERGY, NOT_SUPPORTED)
    with pytest.raises(nvml.NVMLError_NotSupported):
        nvml.nvmlDeviceGetTotalEnergyConsumption(nvml.nvmlDeviceGetHandleByIndex(0))
