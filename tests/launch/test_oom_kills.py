from pathlib import Path

import pytest

from rheostat.launch.endings import CommandEnded, OutOfMemory, failure
from rheostat.launch.oom_kills import OomKills
from rheostat.launch.watch import OutputWatch


class Kernel:
    """The files in which a kernel counts."""

    def __init__(self, root: Path, own_groups: str, events: str | None) -> None:
        self._machine = root / "vmstat"
        self._own_groups = root / "own"
        self._own_groups.write_text(own_groups)
        self._events = None if events is None else root / "groups" / events
        if self._events is not None:
            self._events.parent.mkdir(parents=True)
        self.count(0, 7)
        self.kills = OomKills(root / "groups", self._own_groups, self._machine)

    def count(self, ours: int, machine: int) -> None:
        self._machine.write_text(f"pgfault 5\noom_kill {machine}\noom_killer 9\n")
        if self._events is not None:
            self._events.write_text(f"oom 3\noom_kill {ours}\n")


GROUPS = {
    "version 2": ("0::/user/job\n", "user/job/memory.events"),
    "version 2 in a container": ("0::/host/job\n", "memory.events"),
    "version 1": ("4:memory:/user/job\n1:cpu:/\n0::/\n", "memory/user/job/memory.oom_control"),
    "version 1 in a container": ("4:cpu,memory:/host/job\n", "memory/memory.oom_control"),
}


@pytest.mark.parametrize("name", GROUPS)
def test_a_kill_in_our_own_control_group_is_counted(tmp_path: Path, name: str) -> None:
    kernel = Kernel(tmp_path, *GROUPS[name])
    assert not (kernel.kills.of_our_group())
    assert not (kernel.kills.of_any())
    kernel.count(1, 8)
    assert kernel.kills.of_our_group()
    assert kernel.kills.of_any()


def test_a_kill_elsewhere_is_none_of_ours_where_our_group_counts(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, *GROUPS["version 2"])
    kernel.count(0, 8)
    assert not (kernel.kills.of_our_group())
    assert not (kernel.kills.of_any())


def test_without_control_groups_the_machine_counts(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path, "", None)
    kernel.count(0, 8)
    assert (kernel.kills.of_our_group(), kernel.kills.of_any()) == (False, True)


def test_nothing_is_counted_where_there_is_no_file(tmp_path: Path) -> None:
    kills = OomKills(tmp_path / "groups", tmp_path / "own", tmp_path / "vmstat")
    assert not (kills.of_our_group())
    assert not (kills.of_any())


@pytest.mark.parametrize(
    ("code", "output", "counts", "is_oom"),
    [
        (-9, "", (1, 8), True),
        (137, "", (1, 8), True),
        (137, "", (0, 7), False),
        (1, "  exitcode  : -9 (pid: 4711)", (1, 8), True),
        (1, "  exitcode  : -9 (pid: 4711)", (0, 7), False),
        (1, "BrokenProcessPool", (1, 8), True),
        (-15, "", (0, 7), False),
    ],
)
def test_a_kill_is_out_of_memory_where_the_kernel_says_so(
    tmp_path: Path, code: int, output: str, counts: tuple[int, int], is_oom: bool
) -> None:
    kernel, watch = Kernel(tmp_path, *GROUPS["version 2"]), OutputWatch()
    watch.feed(2, f"{output}\n".encode())
    kernel.count(*counts)
    ending = failure(code, watch, kernel.kills)
    assert isinstance(ending, OutOfMemory) == is_oom
    assert ending.exit_code == (code if code > 0 else 128 - code)


def test_the_machines_count_needs_a_kill_beside_it(tmp_path: Path) -> None:
    kernel, watch = Kernel(tmp_path, "", None), OutputWatch()
    watch.feed(2, b"ValueError: a bug\n")
    kernel.count(0, 8)
    assert isinstance(failure(137, watch, kernel.kills), OutOfMemory)
    ending = failure(1, watch, kernel.kills)
    assert type(ending) is CommandEnded
    assert str(ending) == "The command ended with exit code 1. Its last line was: ValueError: a bug"
