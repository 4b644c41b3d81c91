"""How a request waits for what happens in another thread: no longer than a request may take."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from rheostat.errors import DatabaseUnavailable

A = TypeVar("A")

READS = CapacityLimiter(8)
"""Threads for what routes read. More would not read faster, since Python runs one at a time, and each that computes
makes the event loop wait longer for its turn; all kinds together are fewer than a database's pool has connections."""

TOKEN_CHECKS = CapacityLimiter(4)
SUSPECT_TOKEN_CHECKS = CapacityLimiter(1)
"""For tokens of addresses that have sent too many wrong ones."""

PROBE_CHECKS = CapacityLimiter(4)
"""For probes and scrapes, so that slow reads do not make a server look dead."""


async def answered_within(seconds: float, awaited: Awaitable[A]) -> A:
    """Return what the database is waited for, within a time.

    Raises:
        DatabaseUnavailable: It took longer.
    """
    try:
        async with asyncio.timeout(seconds):
            return await awaited
    except TimeoutError as error:
        raise DatabaseUnavailable("The database did not answer in time.", hint="Try again.") from error


async def read_within(seconds: float, read: Callable[[], A], threads: CapacityLimiter = READS) -> A:
    """Return what a function reads from the database in a thread, within a time.

    A thread that a silent database holds up is left behind, until the watchdog ends its connection. There are never
    many: each gives its place among the threads to another one only after that time.

    Args:
        seconds: The time, with that for a thread to become free.
        read: The function.
        threads: Threads of its kind.

    Raises:
        DatabaseUnavailable: It took longer.
    """
    return await answered_within(seconds, to_thread.run_sync(read, abandon_on_cancel=True, limiter=threads))
