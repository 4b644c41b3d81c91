import platform
import subprocess
import sys
import tracemalloc
from pathlib import Path
from time import monotonic_ns, thread_time

import pytest

from rheostat.sdk.step_clock import StepClock
from tests.waiting import PATIENCE_SECONDS

CLOCK_SOURCE = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
# With these the kernel lets a process read the clock by itself.
WITHOUT_SYSTEM_CALL = {"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"}


def numbers(clock: StepClock) -> list[int]:
    return [step.number for step in clock.new_steps()]


def test_the_beginning_of_the_first_step_is_told_once() -> None:
    begun: list[int] = []
    clock = StepClock(begun.append)
    before_ns = monotonic_ns()
    assert begun == []
    for _ in range(2):
        for _batch in clock.steps_of([1, 2]):
            clock.begin()
    assert [before_ns <= at_ns <= monotonic_ns() for at_ns in begun] == [True]


def test_steps_are_read_once_in_order_with_their_times() -> None:
    clock = StepClock()
    assert clock.new_steps() == []
    clock.step()
    clock.step()
    first, second = clock.new_steps()
    assert (first.number, second.number) == (1, 2)
    assert first.end_ns <= second.end_ns == clock.end_ns(2)
    clock.step()
    assert numbers(clock) == [3]
    assert clock.end_ns(4) is None


def test_a_step_ends_when_the_next_batch_is_requested_and_an_epoch_with_a_break() -> None:
    clock = StepClock()
    assert [(batch, clock.steps) for batch in clock.steps_of("abc")] == [("a", 0), ("b", 1), ("c", 2)]
    clock.step()
    assert [step.after_break for step in clock.new_steps()] == [False, False, False, True]


def test_an_interruption_belongs_to_the_step_that_follows_it_however_late_that_is_read() -> None:
    clock = StepClock()
    clock.step()
    clock.interrupt()
    clock.interrupt()
    assert [step.after_break for step in clock.new_steps()] == [False]
    assert clock.new_steps() == []
    clock.step()
    clock.step()
    assert [step.after_break for step in clock.new_steps()] == [True, False]


def test_a_long_run_needs_no_more_memory_than_a_short_one() -> None:
    clock = StepClock()
    clock.step()
    tracemalloc.start()
    for _ in range(300_000):
        clock.step()
        clock.interrupt()
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 100_000
    assert clock.end_ns(2) is None
    read = clock.new_steps()
    assert read[-1].number == 300_001
    assert len(read) < 100_000


def test_a_step_costs_the_trainer_less_than_five_microseconds() -> None:
    clock = StepClock()
    steps = 20_000

    def seconds() -> float:
        begin = thread_time()
        for _ in clock.steps_of(range(steps)):
            pass
        return thread_time() - begin

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
for _ in range(1000):
    clock.step()
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
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=PATIENCE_SECONDS, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"200 steps", b"")
