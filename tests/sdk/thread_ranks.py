"""Ranks that are threads of one process."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any, TypeVar

from tests.waiting import PATIENCE_SECONDS

T = TypeVar("T")


class ThreadRank:
    """One rank of several; see `rheostat.sdk.ranks.Ranks`."""

    def __init__(self, rank: int, values: list[Any], barrier: Barrier) -> None:
        self.rank = rank
        self.size = len(values)
        self._values = values
        self._barrier = barrier

    def gather(self, value: T) -> list[T]:
        self._values[self.rank] = value
        self._barrier.wait()
        values = list(self._values)
        self._barrier.wait()
        return values

    def broadcast(self, value: T) -> T:
        return self.gather(value)[0]


def on_ranks(count: int, work: Callable[[ThreadRank], T]) -> list[T]:
    """Do the same on so many ranks, and return the results in their order."""
    barrier, values = Barrier(count, timeout=PATIENCE_SECONDS), [None] * count
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(work, [ThreadRank(rank, values, barrier) for rank in range(count)]))
