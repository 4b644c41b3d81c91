"""How long commands show their progress, and are interrupted without a loss."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from time import monotonic
from typing import TYPE_CHECKING, Self

import typer

if TYPE_CHECKING:
    from rheostat.service.operations import Progress

_TERMINAL_SECONDS = 0.2
_FILE_SECONDS = 10.0
_ERASE_REST = "\033[K"


@contextmanager
def interruptible() -> Iterator[Event]:
    """Set an event on Ctrl-C or SIGTERM, so that the step at hand is completed; the second one ends the process."""
    stop = Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def interrupt(*_: object) -> None:
        stop.set()
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, interrupt)
    try:
        yield stop
    finally:
        restore()


class ProgressLine:
    """Shows progress on standard error: on a terminal in one line, else in a line now and then.

    Args:
        doing: What is done, as ``deleting reports``.
        done: What is counted.
    """

    def __init__(self, doing: str, done: str = "deleted") -> None:
        self._doing = doing
        self._done = done
        self._on_terminal = sys.stderr.isatty()
        self._interval_seconds = _TERMINAL_SECONDS if self._on_terminal else _FILE_SECONDS
        self._next = monotonic() + self._interval_seconds
        self._is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_open:
            typer.echo("", err=True)

    def show(self, progress: "Progress") -> None:
        """Show how far it is, unless that was shown just now."""
        if monotonic() < self._next:
            return
        self._next = monotonic() + self._interval_seconds
        share = "" if progress.share is None else f", {progress.share:.0%}"
        line = f"{self._doing}: {progress.rows} {self._done}{share}"
        self._is_open = self._on_terminal
        typer.echo(f"\r{line}{_ERASE_REST}" if self._on_terminal else line, nl=not self._on_terminal, err=True)
