import platform
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest

from rheostat.sdk.step_clock import StepClock

CLOCK_SOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
# With these the kernel lets a process read the clock by itself.
WITHOUT_SYSTEM_CALL = {"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"}


def test_steps_are_counted_always_and_recorded_during_a_recording() -> None:
    clock = StepClock()
    clock.step()
    clock.record()
    clock.step()
    clock.step()
    record = clock.recorded()
    assert [number for number, _ in record.ends] == [2, 3]
    assert record.ends[0][1] <= record.ends[1][1]
    clock.stop()
    clock.step()
    assert clock.steps == 4
    assert clock.recorded().ends == []


def test_a_step_ends_when_the_next_batch_is_requested_and_an_epoch_with_a_break() -> None:
    clock = StepClock()
    clock.record()
    assert [(batch, clock.steps) for batch in clock.steps_of("abc")] == [("a", 0), ("b", 1), ("c", 2)]
    assert clock.steps == 3
    assert clock.recorded().breaks == [3]


def test_an_interruption_is_recorded_after_the_last_step() -> None:
    clock = StepClock()
    clock.record()
    clock.step()
    clock.interrupt()
    assert clock.recorded().breaks == [1]


@pytest.mark.parametrize("records", [False, True])
def test_a_step_costs_the_trainer_less_than_five_microseconds(records: bool) -> None:
    clock = StepClock()
    if records:
        clock.record()
    steps = 20_000

    def seconds() -> float:
        begin = perf_counter()
        for _ in clock.steps_of(range(steps)):
            pass
        return perf_counter() - begin

    assert min(seconds() for _ in range(5)) / steps < 5e-6


@pytest.mark.skipif(
    platform.machine() not in {"x86_64", "aarch64"}, reason="the numbers of its system calls are not known here"
)
@pytest.mark.skipif(
    CLOCK_SOURCE.exists() and CLOCK_SOURCE.read_text().strip() not in WITHOUT_SYSTEM_CALL,
    reason="reading the clock is a system call on this machine, whoever does it",
)
def test_a_step_makes_no_system_call() -> None:
    program = """
import ctypes, os, platform, struct
from rheostat.sdk.step_clock import StepClock
clock = StepClock()
clock.record()
for _ in range(1000):
    clock.step()
clock.record()
# From here on the kernel kills this process at any system call but write and exit_group: seccomp(2), filter mode.
write, leave = {"x86_64": (1, 231), "aarch64": (64, 94)}[platform.machine()]
allow, kill = 0x7FFF0000, 0x80000000
code = [(0x20, 0, 0, 0), (0x15, 1, 0, write), (0x15, 0, 1, leave), (0x06, 0, 0, allow), (0x06, 0, 0, kill)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in code), 8 * len(code))
filters = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code.raw) // 8, ctypes.addressof(code)), 16)
prctl = ctypes.CDLL(None).prctl
assert prctl(38, 1, 0, 0, 0) == 0
assert prctl(22, 2, filters, 0, 0) == 0
for _ in range(200):
    clock.step()
os.write(1, b"200 steps")
os._exit(0)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"200 steps", b"")
