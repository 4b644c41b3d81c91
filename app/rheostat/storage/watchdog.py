"""Ends connections to PostgreSQL over which no answer comes.

PostgreSQL itself limits how long a statement may take. Where it stands still, or a device on the way drops what it is
sent, no error arrives, and whoever waits would wait without end, the thread that writes for all jobs among them.
"""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from time import monotonic
from typing import Any

from sqlalchemy import Connection, Engine, event

_LOOK_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Watchdog:
    """Watches over what is done with the connections of engines.

    Args:
        seconds: How long a connection may be lent.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lent: dict[int, tuple[Any, float]] = {}
        self._closed = Event()
        self._thread = Thread(target=self._work, name="watchdog", daemon=True)
        self._thread.start()

    def watch(self, engine: Engine) -> None:
        """Watch over the connections of an engine, too."""
        event.listen(engine, "checkout", self._lend)
        event.listen(engine, "checkin", self._take_back)

    @contextmanager
    def watching(self, connection: Connection) -> Iterator[None]:
        """Watch over a connection that is kept, for the length of a block."""
        driver = connection.connection.driver_connection
        self._lend(driver, driver, None)
        try:
            yield
        finally:
            self._take_back(None, driver)

    def close(self) -> None:
        """Stop watching."""
        self._closed.set()
        self._thread.join()

    def _lend(self, connection: Any, record: Any, _: Any) -> None:
        self._lent[id(record)] = connection, monotonic() + self._seconds

    def _take_back(self, _: Any, record: Any) -> None:
        self._lent.pop(id(record), None)

    def _work(self) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            now = monotonic()
            for key, (connection, deadline) in list(self._lent.items()):
                if now > deadline and self._lent.pop(key, None) is not None:
                    _log.warning("the database did not answer for %g seconds; the connection is ended", self._seconds)
                    _hang_up(connection)


def _hang_up(connection: Any) -> None:
    """End a connection while a thread waits for an answer over it: it gets an error that says so."""
    # What fails here has ended by itself.
    with suppress(Exception), socket.socket(fileno=os.dup(connection.pgconn.socket)) as ours:
        ours.shutdown(socket.SHUT_RDWR)
