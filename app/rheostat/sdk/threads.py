"""Starts threads for what a trainer need not wait for."""

import logging
from collections.abc import Callable
from threading import Thread

_log = logging.getLogger("rheostat")


def in_background(work: Callable[[], object], name: str) -> Thread | None:
    """Start a thread that ends with the process; None, with a warning, where no more threads can be started."""
    thread = Thread(target=work, name=f"rheostat-{name}", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        _log.warning("The thread %s is missing: %s", thread.name, error)
        return None
    return thread
