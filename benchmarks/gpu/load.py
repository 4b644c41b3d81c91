"""Keeps the GPU busy in a process of its own, 130 of every 200 ms or all the time, until it is ended."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep

from benchmarks.gpu.work import find_work

_BUSY_SECONDS, _IDLE_SECONDS = 0.13, 0.07
_BATCH_SIZE = 32


@contextmanager
def loaded(*, switching: bool) -> Iterator[None]:
    """Load the GPU while the block lasts.

    Raises:
        RuntimeError: The load does not begin.
    """
    command = [sys.executable, "-m", "benchmarks.gpu.load", "switching" if switching else "steady"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise RuntimeError("The process that was to load the GPU has ended.")
            yield
        finally:
            process.kill()


def main(kind: str) -> None:
    """Work until this process is ended."""
    _, make = find_work()
    work = make(_BATCH_SIZE)
    work.step()
    work.finish()
    print("busy", flush=True)
    while True:
        begun = monotonic()
        while monotonic() < begun + _BUSY_SECONDS:
            work.step()
            work.finish()
        if kind == "switching":
            sleep(_IDLE_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1])
