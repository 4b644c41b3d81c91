"""Energy against the truth of a fake GPU that is as slow and irregular as a real one (docs/hardware.md)."""

import random
from collections.abc import Callable, Iterator

import pytest

from tests.agent.metered import SECOND, MeteredGpu
from tests.nvml.fake import NOT_READY, NOT_SUPPORTED, UNKNOWN, Call, FakeGpu, FakeNvml

LOADS: dict[str, Callable[[FakeGpu], None]] = {
    "steady": lambda gpu: gpu.load(0.9),
    "training": lambda gpu: gpu.wave(0.5, 0.95, period_ms=600, high_ms=400, ramp_ms=30),
    "busy and idle": lambda gpu: gpu.wave(0.0, 1.0, period_ms=200, high_ms=130, ramp_ms=25),
    "evaluations": lambda gpu: gpu.wave(0.0, 1.0, period_ms=3100, high_ms=2500, ramp_ms=100),
    "odd": lambda gpu: gpu.wave(0.1, 0.9, period_ms=437, high_ms=211, ramp_ms=25),
}


@pytest.fixture
def metered(fake: FakeNvml) -> Iterator[MeteredGpu]:
    """A GPU with the measured latencies, idle for some seconds."""
    fake.drive()
    fake.be_real()
    fake.advance(3)
    metered = MeteredGpu(fake)
    yield metered
    metered.close()


@pytest.mark.parametrize("load", LOADS)
def test_windows_under_load_are_known_and_precise_wherever_their_edges_lie(metered: MeteredGpu, load: str) -> None:
    LOADS[load](metered.gpu)
    metered.run(3.5)  # by then windows do not begin before it is known when the counter ticks
    draw = random.Random(1)
    asked = []
    for _ in range(40):
        now_ns = metered.run(draw.uniform(0.2, 0.8))
        assert metered.error(2) < 0.005
        assert metered.error(0.3) < 0.05
        asked.append(now_ns)
    for until_ns in asked:  # and when they are asked for later
        for seconds, bound in ((2, 0.005), (0.3, 0.05)):
            since_ns = until_ns - round(seconds * SECOND)
            usage = metered.meter.usage(since_ns, until_ns)
            assert usage.energy_joules == pytest.approx(metered.truth(since_ns, until_ns), rel=bound)
            assert (usage.source, usage.unknown_because) == ("counter", None)
            assert usage.resolution_seconds is not None
            assert usage.resolution_seconds < 0.03


@pytest.mark.parametrize("tick_phase", [0, 25, 50, 97])
def test_windows_soon_after_a_lease_begins_are_precise_under_hard_steps(metered: MeteredGpu, tick_phase: int) -> None:
    """Ticks are at the steps of the load, or between: samples alone are off by 5 % there, always in the same sense."""
    metered.gpu.state.tick_phase = tick_phase
    metered.run(0.02)
    metered.gpu.wave(0.1, 1.0, period_ms=200, high_ms=130, ramp_ms=0)
    since_ns = metered.run(1.6)
    windows = []
    for seconds, bound in ((0.3, 0.05), (0.5, 0.05), (1, 0.015), (2, 0.01), (2, 0.01), (2, 0.01), (5, 0.005)):
        until_ns = metered.run(seconds)
        assert metered.error(seconds) < bound
        windows.append((since_ns, until_ns, min(bound, 0.01) if seconds >= 1 else bound))
        since_ns = metered.fake.now_ns()
    metered.run(0.5)
    for since_ns, until_ns, bound in windows:  # and when they are asked for later
        usage = metered.meter.usage(since_ns, until_ns)
        assert usage.energy_joules == pytest.approx(metered.truth(since_ns, until_ns), rel=bound)


def test_windows_are_known_and_precise_where_reading_the_counter_takes_half_a_tick(metered: MeteredGpu) -> None:
    metered.gpu.take(Call.GET_ENERGY, 12_000, (12_000, 25_000, 40_000, 60_000, 90_000))
    metered.gpu.take(Call.GET_SAMPLES, 400, (400, 2000, 6000, 10_000, 20_000))
    LOADS["training"](metered.gpu)
    metered.run(4)
    draw = random.Random(1)
    for _ in range(40):
        metered.run(draw.uniform(0.2, 0.8))
        assert metered.error(2) < 0.005
        assert metered.error(0.3) < 0.05


@pytest.mark.parametrize(("factor", "learning_seconds"), [(1.02, 0.1), (0.6, 20), (2.0, 20)])
def test_a_run_is_as_the_counter_says_even_where_power_samples_are_wrong(
    metered: MeteredGpu, monkeypatch: pytest.MonkeyPatch, factor: float, learning_seconds: float
) -> None:
    """As where they tell the power of a module, and the counter the energy of its GPU."""
    device = metered.meter._device
    samples = device.power_samples
    monkeypatch.setattr(
        device,
        "power_samples",
        lambda since_us: [(time, round(milliwatts * factor)) for time, milliwatts in samples(since_us)],
    )
    metered.gpu.load(0.7)
    since_ns = metered.run(learning_seconds)
    begin = metered.count()
    until_ns = metered.run(50)
    assert metered.count() - begin == pytest.approx(metered.truth(since_ns, until_ns), rel=0.01)
    assert metered.meter.usage(until_ns - 5 * SECOND, until_ns - 3 * SECOND).energy_joules == pytest.approx(
        metered.truth(until_ns - 5 * SECOND, until_ns - 3 * SECOND), rel=0.005
    )


def test_the_energy_of_a_lease_is_known_from_its_first_moment_on(metered: MeteredGpu) -> None:
    metered.gpu.load(0.8)
    metered.meter.poll()
    since_ns = metered.fake.now_ns()
    begin = metered.count()
    until_ns = metered.run(2)
    assert metered.count() - begin == pytest.approx(metered.truth(since_ns, until_ns), rel=0.01)
    early = metered.meter.usage(since_ns - SECOND, until_ns)
    assert early.energy_joules == pytest.approx(metered.truth(since_ns - SECOND, until_ns), rel=0.01)


def test_the_counter_is_read_rarely(metered: MeteredGpu) -> None:
    LOADS["training"](metered.gpu)
    metered.run(3)
    calls = list(metered.gpu.state.calls)
    metered.run(20)
    counted, sampled, looked = (
        (metered.gpu.state.calls[call] - calls[call]) / 20
        for call in (Call.GET_ENERGY, Call.GET_SAMPLES, Call.GET_REASONS)
    )
    assert counted <= 2
    assert sampled <= 5
    assert looked <= 6


def test_the_count_never_goes_back_and_its_differences_are_the_energy(metered: MeteredGpu) -> None:
    LOADS["busy and idle"](metered.gpu)
    since_ns = metered.run(2)
    counts = [metered.count()]
    for _ in range(200):
        metered.run(0.011)
        counts.append(metered.count())
    assert counts == sorted(counts)
    assert counts[-1] - counts[0] == pytest.approx(metered.truth(since_ns, metered.fake.now_ns()), rel=0.01)


def test_an_answer_while_the_counter_is_being_read_carries_power_on_and_says_how_far(metered: MeteredGpu) -> None:
    metered.gpu.load(0.9)
    metered.run(3)
    metered.fake.advance(0.4)  # the GPU's thread is busy, and nothing is read
    until_ns = metered.fake.now_ns()
    usage = metered.meter.usage(until_ns - 2 * SECOND, until_ns)
    assert usage.energy_joules == pytest.approx(metered.truth(until_ns - 2 * SECOND, until_ns), rel=0.005)
    assert usage.resolution_seconds is not None
    assert 0.4 < usage.resolution_seconds < 1


def test_energy_that_the_driver_does_not_tell_is_unknown_and_says_why(metered: MeteredGpu) -> None:
    metered.run(3)
    metered.fake.advance(1.6)
    until_ns = metered.fake.now_ns()
    usage = metered.meter.usage(until_ns - SECOND, until_ns)
    assert (usage.energy_joules, usage.cumulative_joules, usage.resolution_seconds) == (None, None, None)
    assert "The driver does not tell the energy." in (usage.unknown_because or "")
    future = metered.meter.usage(None, until_ns + SECOND)
    assert (future.cumulative_joules, future.unknown_because) == (None, "That moment has not come yet.")
    early = metered.meter.usage(until_ns - 60 * SECOND, until_ns - 2 * SECOND)
    assert early.energy_joules is None
    assert "not known that far back" in (early.unknown_because or "")
    assert early.cumulative_joules is not None


@pytest.mark.parametrize("before", [0.0, 1.0])
def test_energy_that_could_not_be_read_for_a_while_is_whole_again_by_the_counter(
    metered: MeteredGpu, before: float
) -> None:
    metered.gpu.load(before)
    since_ns = metered.run(5)
    begin = metered.count()
    metered.gpu.load(1 - before)
    metered.fake.advance(10)  # the driver hangs
    metered.gpu.load(before)
    until_ns = metered.run(5)
    assert metered.count() - begin == pytest.approx(metered.truth(since_ns, until_ns), rel=0.02)
    inside = metered.meter.usage(since_ns + 4 * SECOND, until_ns)
    assert inside.energy_joules is None
    assert "could not be read" in (inside.unknown_because or "")


def test_without_a_counter_samples_are_added_up(metered: MeteredGpu) -> None:
    metered.gpu.fail(Call.GET_ENERGY, NOT_SUPPORTED)
    LOADS["training"](metered.gpu)
    begin_ns = metered.fake.now_ns()
    metered.run(5)
    usage = metered.ask(2)
    assert metered.error(2) < 0.01
    assert usage.source == "power_samples"
    assert usage.series != "counter"
    assert usage.known_from_ns is not None
    assert 2 * SECOND < begin_ns - usage.known_from_ns < 2.5 * SECOND
    assert metered.gpu.state.calls[Call.GET_ENERGY] <= 2


def test_without_a_counter_a_gap_begins_a_new_series(metered: MeteredGpu) -> None:
    metered.gpu.fail(Call.GET_ENERGY, NOT_SUPPORTED)
    metered.run(3)
    before = metered.ask(1)
    metered.fake.advance(10)
    since_ns = metered.run(1)
    after = metered.ask(1)
    assert after.series != before.series
    assert after.known_from_ns is not None
    assert since_ns - 4 * SECOND < after.known_from_ns < since_ns
    assert "could not be read for a while" in (metered.ask(12.5).unknown_because or "")


@pytest.mark.parametrize(
    ("missing", "bound", "resolution_seconds"),
    [([Call.GET_SAMPLES], 0.01, 0.06), ([Call.GET_SAMPLES, Call.GET_INSTANT], 0.03, 1.0)],
)
def test_without_samples_power_is_read_often(
    metered: MeteredGpu, missing: list[Call], bound: float, resolution_seconds: float
) -> None:
    for call in missing:
        metered.gpu.fail(call, NOT_SUPPORTED)
    LOADS["training"](metered.gpu)
    since_ns = metered.run(5)
    begin = metered.count()
    until_ns = metered.run(5)
    usage = metered.ask(2)
    assert usage.energy_joules == pytest.approx(metered.truth(until_ns - 2 * SECOND, until_ns), rel=bound)
    assert metered.count() - begin == pytest.approx(metered.truth(since_ns, until_ns), rel=bound)
    assert usage.source == "counter"
    assert usage.resolution_seconds is not None
    assert usage.resolution_seconds == pytest.approx(resolution_seconds, rel=0.2)


def test_with_readings_of_power_alone_the_source_says_so(metered: MeteredGpu) -> None:
    for call in (Call.GET_SAMPLES, Call.GET_INSTANT, Call.GET_ENERGY):
        metered.gpu.fail(call, NOT_SUPPORTED)
    metered.gpu.load(0.9)
    metered.run(4)
    assert metered.error(2) < 0.01
    usage = metered.ask(2)
    assert (usage.source, usage.resolution_seconds) == ("power_readings", 1.0)


def test_without_power_the_counter_alone_is_read(metered: MeteredGpu) -> None:
    for call in (Call.GET_SAMPLES, Call.GET_INSTANT, Call.GET_POWER):
        metered.gpu.fail(call, NOT_SUPPORTED)
    metered.gpu.load(0.9)
    metered.run(4)
    assert metered.error(2) < 0.06
    usage = metered.ask(2)
    assert usage.source == "counter"
    assert usage.resolution_seconds is not None
    assert usage.resolution_seconds >= 0.1


def test_without_any_reading_the_energy_is_unknown(metered: MeteredGpu) -> None:
    for call in (Call.GET_SAMPLES, Call.GET_INSTANT, Call.GET_POWER, Call.GET_ENERGY):
        metered.gpu.fail(call, NOT_SUPPORTED)
    metered.run(4)
    usage = metered.ask(1)
    assert (usage.energy_joules, usage.cumulative_joules) == (None, None)
    assert "nvmlDeviceGetPowerUsage" in (usage.unknown_because or "")


@pytest.mark.parametrize("error", [NOT_READY, UNKNOWN])
@pytest.mark.parametrize("call", [Call.GET_ENERGY, Call.GET_SAMPLES, Call.GET_INSTANT])
def test_errors_now_and_then_change_little(metered: MeteredGpu, call: Call, error: int) -> None:
    metered.gpu.fail(call, error, per_mille=100)
    LOADS["training"](metered.gpu)
    metered.run(3)
    for _ in range(20):
        metered.run(0.37)
        usage = metered.ask(2)
        assert usage.resolution_seconds is not None
        # Power that could not be read for an answer is carried on, and the answer says so.
        assert metered.error(2) < 0.01 + usage.resolution_seconds / 10
        assert usage.series == "counter"


@pytest.mark.parametrize("call", [Call.GET_ENERGY, Call.GET_SAMPLES])
@pytest.mark.parametrize("error", [NOT_SUPPORTED, UNKNOWN])
def test_a_source_that_fails_within_a_lease_is_replaced_by_the_next_one(
    metered: MeteredGpu, call: Call, error: int
) -> None:
    LOADS["training"](metered.gpu)
    since_ns = metered.run(3)
    begin = metered.count()
    metered.gpu.fail(call, error)
    metered.run(10)
    while_failing = metered.ask(2)
    assert metered.error(2) < 0.03
    assert while_failing.source == ("power_samples" if call is Call.GET_ENERGY else "counter")
    metered.gpu.heal()
    until_ns = metered.run(13)
    assert metered.ask(2).source == "counter"
    assert metered.error(2) < 0.005
    assert metered.count() - begin == pytest.approx(metered.truth(since_ns, until_ns), rel=0.005)
    assert metered.ask(1).series == while_failing.series == "counter"


@pytest.mark.parametrize("jump_joules", [-1e9, 1e6, 2**32 / 1000])
def test_a_counter_that_jumps_is_not_believed(metered: MeteredGpu, jump_joules: float) -> None:
    metered.gpu.add_to_counter(1000)
    LOADS["training"](metered.gpu)
    since_ns = metered.run(4)
    begin = metered.count()
    metered.gpu.add_to_counter(jump_joules)
    for _ in range(20):
        until_ns = metered.run(0.2)
        assert metered.error(2) < 0.01
        assert metered.count() - begin == pytest.approx(metered.truth(since_ns, until_ns), rel=0.02)
    assert metered.ask(1).known_from_ns == 0
    metered.meter.pause()  # the lease ends and another one begins
    metered.meter.poll()
    assert metered.count() - begin == pytest.approx(metered.truth(since_ns, metered.fake.now_ns()), rel=0.03)


def test_one_wrong_value_of_the_counter_changes_nothing(metered: MeteredGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    LOADS["training"](metered.gpu)
    since_ns = metered.run(4)
    begin = metered.count()
    device = metered.meter._device
    real, wrong = device.energy_millijoules, iter([2**40])
    monkeypatch.setattr(device, "energy_millijoules", lambda: next(wrong, None) or real())
    until_ns = metered.run(10)
    assert next(wrong, None) is None
    assert metered.count() - begin == pytest.approx(metered.truth(since_ns, until_ns), rel=0.005)


def test_a_counter_alone_that_jumps_is_not_believed(metered: MeteredGpu) -> None:
    for call in (Call.GET_SAMPLES, Call.GET_INSTANT, Call.GET_POWER):
        metered.gpu.fail(call, NOT_SUPPORTED)
    metered.gpu.load(0.9)
    since_ns = metered.run(4)
    begin = metered.count()
    metered.gpu.add_to_counter(1e6)
    until_ns = metered.run(4)
    assert metered.count() - begin == pytest.approx(metered.truth(since_ns, until_ns), rel=0.15)


@pytest.mark.parametrize("seconds", [3600.0, -3600.0, 0.3, -0.3, 7.0])
def test_a_wall_clock_that_is_set_changes_nothing(metered: MeteredGpu, seconds: float) -> None:
    LOADS["training"](metered.gpu)
    metered.run(4.13)
    metered.fake.set_wall(seconds)
    for _ in range(12):
        metered.run(0.27)
        assert metered.error(2) < 0.006
        assert metered.error(0.3) < 0.05


def test_a_machine_that_was_suspended_goes_on(metered: MeteredGpu) -> None:
    LOADS["training"](metered.gpu)
    since_ns = metered.run(4)
    begin = metered.count()
    metered.fake.set_wall(8 * 3600)  # CLOCK_MONOTONIC has stood still
    metered.gpu.add_to_counter(-1e9)  # and the GPU was without power
    until_ns = metered.run(6)
    assert metered.count() - begin == pytest.approx(metered.truth(since_ns, until_ns), rel=0.01)


def test_a_run_goes_on_by_the_counter_when_the_agent_was_killed(metered: MeteredGpu) -> None:
    LOADS["training"](metered.gpu)
    since_ns = metered.run(5)
    before = metered.ask(1)
    metered.fake.advance(3)
    again = MeteredGpu(metered.fake)
    until_ns = again.run(10)
    after = again.ask(1)
    assert after.series == before.series == "counter"
    assert before.cumulative_joules is not None
    assert after.cumulative_joules is not None
    truth = metered.truth(since_ns, until_ns)
    assert after.cumulative_joules - before.cumulative_joules == pytest.approx(truth, rel=0.01)
    again.close()


def test_after_a_pause_the_energy_before_it_is_unknown(metered: MeteredGpu) -> None:
    metered.run(5)
    since_ns = metered.fake.now_ns() - SECOND // 2
    metered.meter.pause()
    assert metered.meter.usage(since_ns, metered.fake.now_ns()).energy_joules is None
    metered.fake.advance(10)
    metered.meter.poll()
    assert metered.meter.usage(since_ns, metered.fake.now_ns()).energy_joules is None


def test_throttle_reasons_in_the_window_are_listed(metered: MeteredGpu) -> None:
    metered.gpu.load(0.5)
    metered.run(1)
    metered.gpu.state.temperature_celsius = 99
    since_ns = metered.run(1)
    metered.gpu.state.temperature_celsius = 40
    until_ns = metered.run(3)
    assert metered.meter.usage(since_ns - SECOND // 2, since_ns).throttle_reasons == ["thermal"]
    assert metered.meter.usage(until_ns - SECOND, until_ns).throttle_reasons == []


def test_throttle_reasons_that_a_gpu_does_not_report_are_unknown_and_its_energy_is_still_measured(
    metered: MeteredGpu,
) -> None:
    metered.gpu.fail(Call.GET_REASONS, NOT_SUPPORTED)
    metered.run(3)
    usage = metered.ask(1)
    assert usage.energy_joules is not None
    assert (usage.throttle_reasons, usage.source) == (None, "counter")
