"""Waiting for what happens soon on an idle machine, and later on a busy one."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

PATIENCE_SECONDS = 600.0
"""Longest wait for a process, an answer or a condition. It only ends a test that would otherwise hang: under a load of
20 on two cores a server takes over 30 s to start."""


def eventually(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> float:
    """Wait until a condition holds; return how long that took, as a `Stopwatch` measures it."""
    watch, give_up_at = Stopwatch(), monotonic() + seconds
    while not condition():
        assert monotonic() < give_up_at, "timed out waiting for a condition"
        sleep(0.005)
    return watch.seconds()


class Stopwatch:
    """Measures how long something takes, but for what a busy machine adds.

    Time in which this process, or one that it started, was ready to run but was given no processor does not count: the
    kernel counts it for each thread. Waiting for a timeout or a lock counts in full. Where a kernel does not count, all
    counts.
    """

    def __init__(self) -> None:
        self._withheld = withheld_seconds()
        self._began = monotonic()

    def seconds(self) -> float:
        elapsed = monotonic() - self._began
        before = self._withheld
        return elapsed - sum(seconds - before.get(thread, 0.0) for thread, seconds in withheld_seconds().items())

    def is_disturbed(self) -> bool:
        """Whether the machine was so busy that what takes as long every time took unequally long."""
        return self.seconds() < 0.95 * (monotonic() - self._began)


def withheld_seconds() -> dict[str, float]:
    """Return for each thread of this process and of its descendants how long it was ready to run but did not."""
    withheld = {}
    for process in _with_descendants(os.getpid()):
        # A thread may end meanwhile.
        with suppress(OSError):
            for task in Path(f"/proc/{process}/task").iterdir():
                with suppress(OSError, ValueError, IndexError):
                    withheld[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
    return withheld


def _with_descendants(process: int) -> Iterator[int]:
    yield process
    with suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            with suppress(OSError):
                for child in (task / "children").read_text().split():
                    yield from _with_descendants(int(child))
