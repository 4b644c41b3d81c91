"""Energy windows against the truth of the fake and of the simulated GPU."""

import threading
from collections.abc import Callable
from time import monotonic_ns, sleep

import pytest

from rheostat.agent.devices import Device
from rheostat.agent.energy import EnergyMeter
from rheostat.agent.nvml import NvmlDriver
from tests.agent.agents import eventually
from tests.nvml.fake import NOT_SUPPORTED, Call, FakeNvml

SECOND = 1_000_000_000


class Followed:
    """A meter whose thread polls it, as the agent's does."""

    def __init__(self, device: Device) -> None:
        self.meter = EnergyMeter(device)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(self.meter.poll())

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def follow(fake: FakeNvml, request: pytest.FixtureRequest) -> Callable[[], Followed]:
    driver = NvmlDriver()

    def begin() -> Followed:
        followed = Followed(driver.open()[0])
        request.addfinalizer(driver.close)
        request.addfinalizer(followed.stop)
        return followed

    return begin


def test_a_window_of_two_seconds_is_within_one_percent_of_the_truth(
    follow: Callable[[], Followed], fake: FakeNvml
) -> None:
    meter, gpu = follow().meter, fake.gpus[0]
    gpu.load(0.9)
    sleep(0.6)
    resolutions = []
    for phase_seconds in (0.0, 0.03, 0.07):
        sleep(phase_seconds)
        since_ns, before = monotonic_ns(), gpu.energy_joules()
        sleep(2)
        until_ns, truth = monotonic_ns(), gpu.energy_joules() - before
        usage = meter.usage(since_ns, until_ns, wait_seconds=1)
        assert usage.energy_joules == pytest.approx(truth, rel=0.01)
        assert (usage.source, usage.unknown_because) == ("counter", None)
        assert usage.resolution_seconds is not None
        resolutions.append(usage.resolution_seconds)
    # A busy machine notices some ticks too late to use them; the figure above must be right even so.
    assert min(resolutions) == pytest.approx(0.1, rel=0.3)


def test_differences_of_the_count_are_the_same_energy(follow: Callable[[], Followed]) -> None:
    meter = follow().meter
    sleep(0.5)
    since_ns = monotonic_ns()
    start = meter.usage(None, since_ns, wait_seconds=1)
    sleep(0.3)
    end = meter.usage(since_ns, monotonic_ns(), wait_seconds=1)
    assert start.energy_joules is None
    assert start.cumulative_joules is not None
    assert end.cumulative_joules is not None
    assert end.energy_joules == pytest.approx(end.cumulative_joules - start.cumulative_joules)
    assert start.series == end.series


def test_without_a_counter_power_is_integrated_and_that_is_said(follow: Callable[[], Followed], fake: FakeNvml) -> None:
    gpu = fake.gpus[0]
    gpu.state.without_counter = 1
    gpu.load(0.5)
    meter = follow().meter
    sleep(1.2)  # until the average has forgotten the idle time
    since_ns, before = monotonic_ns(), gpu.energy_joules()
    sleep(1)
    until_ns, truth = monotonic_ns(), gpu.energy_joules() - before
    usage = meter.usage(since_ns, until_ns, wait_seconds=1)
    assert usage.source == "power_samples"
    assert usage.energy_joules == pytest.approx(truth, rel=0.03)


def test_what_is_not_known_is_null_and_says_why(follow: Callable[[], Followed]) -> None:
    meter = follow().meter
    sleep(0.3)
    early = meter.usage(monotonic_ns() - 60 * SECOND, monotonic_ns(), wait_seconds=1)
    assert (early.energy_joules, early.unknown_because is not None) == (None, True)
    future = meter.usage(None, monotonic_ns() + 60 * SECOND)
    assert (future.cumulative_joules, future.unknown_because) == (None, "It has not been read since.")


def test_a_counter_that_starts_over_begins_a_new_series(follow: Callable[[], Followed], fake: FakeNvml) -> None:
    meter, gpu = follow().meter, fake.gpus[0]
    gpu.state.energy_joules = gpu.state.counter_joules = 1000
    sleep(0.4)
    since_ns = monotonic_ns() - SECOND // 10
    before = meter.usage(None, since_ns)
    gpu.state.energy_joules = gpu.state.counter_joules = 0
    sleep(0.4)
    after = meter.usage(since_ns, monotonic_ns(), wait_seconds=1)
    assert after.series != before.series
    assert after.energy_joules is None


def test_a_meter_that_cannot_read_for_a_while_does_not_guess(follow: Callable[[], Followed], fake: FakeNvml) -> None:
    meter = follow().meter
    sleep(0.3)
    fake.gpus[0].state.tick_cells = 2**40
    since_ns = monotonic_ns() + SECOND // 2
    sleep(2)
    fake.gpus[0].state.tick_cells = 10
    usage = meter.usage(since_ns, since_ns + SECOND // 10, wait_seconds=3)
    assert usage.energy_joules is None
    assert usage.unknown_because is not None


def test_the_counter_is_looked_at_when_a_tick_is_due_not_all_the_time(
    follow: Callable[[], Followed], fake: FakeNvml
) -> None:
    follow()
    sleep(0.6)
    calls = fake.gpus[0].state.calls[Call.GET_ENERGY]
    sleep(1)
    assert fake.gpus[0].state.calls[Call.GET_ENERGY] - calls < 130


def test_reasons_for_a_slow_clock_are_told_with_the_window(follow: Callable[[], Followed], fake: FakeNvml) -> None:
    meter = follow().meter
    fake.gpus[0].state.temperature_celsius = 99
    sleep(0.3)
    usage = meter.usage(monotonic_ns() - SECOND // 5, monotonic_ns(), wait_seconds=1)
    assert usage.throttle_reasons is not None
    assert "thermal" in usage.throttle_reasons


def test_reasons_that_a_gpu_does_not_tell_are_unknown_and_its_counter_is_still_used(
    follow: Callable[[], Followed], fake: FakeNvml
) -> None:
    fake.gpus[0].fail(Call.GET_REASONS, NOT_SUPPORTED)
    meter = follow().meter
    since_ns = monotonic_ns() + SECOND // 5
    sleep(0.4)
    # On a busy machine ticks are noticed too late to be used; a later one then ends the window.
    eventually(lambda: meter.usage(since_ns, monotonic_ns(), wait_seconds=1).energy_joules is not None)
    usage = meter.usage(since_ns, since_ns + SECOND // 10, wait_seconds=1)
    assert (usage.throttle_reasons, usage.source) == (None, "counter")


def test_energy_is_known_from_the_first_moment_on(follow: Callable[[], Followed], fake: FakeNvml) -> None:
    gpu = fake.gpus[0]
    gpu.load(0.8)
    sleep(0.3)
    meter = follow().meter
    sleep(0.01)
    since_ns, before = monotonic_ns(), gpu.energy_joules()
    sleep(2)
    until_ns, truth = monotonic_ns(), gpu.energy_joules() - before
    assert meter.usage(since_ns, until_ns, wait_seconds=1).energy_joules == pytest.approx(truth, rel=0.015)
