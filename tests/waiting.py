"""Waiting for what happens soon on an idle machine, and later on a busy one."""

from collections.abc import Callable
from time import monotonic, sleep

PATIENCE_SECONDS = 300.0
"""Longest wait for a process, an answer or a condition. It only ends a test that would otherwise hang: under a load of
20 on two cores a server takes over 30 s to start."""


def eventually(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> float:
    """Wait until a condition holds; return how long that took."""
    begin = monotonic()
    while not condition():
        assert monotonic() < begin + seconds, "timed out waiting for a condition"
        sleep(0.005)
    return monotonic() - begin
