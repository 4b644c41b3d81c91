import re

import pytest

from rheostat.launch import watch as module
from rheostat.launch.watch import OutputWatch

OOM = b"[rank2]: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB\n"
DUMP = b"[rank0]: frame #0: c10::Error::Error(c10::SourceLocation, std::string) + 0x57\n" * 2000


def test_memory_that_ran_out_is_found_before_all_that_was_dumped_after_it() -> None:
    watch = OutputWatch()
    for data in (b"epoch 1\n", OOM[:40], OOM[40:], *[DUMP] * 4):
        watch.feed(2, data)
    assert watch.out_of_memory is not None
    assert "CUDA out of memory" in watch.out_of_memory


def test_the_outputs_do_not_mix() -> None:
    watch = OutputWatch()
    watch.feed(2, b"RuntimeError: CUDA out of ")
    watch.feed(1, b"acc=0.5\n")
    watch.feed(2, b"memory.")
    watch.finish()
    assert watch.out_of_memory == "RuntimeError: CUDA out of memory."


def test_users_patterns_add_to_the_known_ones() -> None:
    watch = OutputWatch([re.compile("no room")])
    watch.feed(1, b"E0001 no room\n")
    assert watch.out_of_memory == "E0001 no room"


def test_what_the_command_got_over_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    watch = OutputWatch()
    watch.feed(2, OOM)
    watch.note_progress()
    assert watch.out_of_memory is not None
    now[0] += 2.0
    watch.note_progress()
    assert watch.out_of_memory is None


def test_the_last_lines_are_as_a_terminal_shows_them() -> None:
    watch = OutputWatch()
    watch.feed(1, b"one\n\n10%\r\x1b[1mtwo\x1b[0m\n   \n" + b"x" * 300 + b"\nthree")
    watch.finish()
    assert watch.last_lines(3) == ["two", "x" * 200, "three"]
    assert watch.last_lines() == ["three"]
    assert OutputWatch().last_lines() == []


def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    watch = OutputWatch()
    for _ in range(40):
        watch.feed(1, b"x" * 2**16)
    assert sum(map(len, watch._begun.values())) <= 2**16
