"""How a request waits for what happens in another thread: no longer than a request may take."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio import to_thread

from rheostat.errors import DatabaseUnavailable

A = TypeVar("A")


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


async def read_within(seconds: float, read: Callable[[], A]) -> A:
    """Return what a function reads from the database in a thread, within a time.

    A thread that a silent database holds up is left behind, until the watchdog ends its connection. There are never
    many: each gives its place among the threads to another one only after that time.

    Raises:
        DatabaseUnavailable: It took longer.
    """
    return await answered_within(seconds, to_thread.run_sync(read, abandon_on_cancel=True))
