"""Copies a command's output, byte for byte and at once, and reads it on the way."""

import fcntl
import os
import select
import termios
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

_CHUNK_BYTES = 2**16
# More than a pipe holds: all that was written before the command ended is copied, but not all that is written later.
_LAST_BYTES = 2**20
_LAST_MILLISECONDS = 50


class OutputRelay:
    """Copies one output of a command to ours. If ours is a terminal, the command gets a terminal too.

    Attributes:
        theirs: The descriptor to start the command with.

    Args:
        ours: The descriptor to copy to.
        read: Is called with the bytes, in a thread.
    """

    def __init__(self, ours: int, read: Callable[[bytes], None]) -> None:
        self._ours = ours
        self._read = read
        self._terminal = os.isatty(ours)
        self._source, self.theirs = _terminal_like(ours) if self._terminal else os.pipe()
        self._ended = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = Thread(target=self._copy, name=f"rheostat-output-{ours}", daemon=True)

    def start(self) -> None:
        """Begin to copy, once the command is started or has failed to start."""
        os.close(self.theirs)
        self._thread.start()

    def finish(self) -> None:
        """Copy the last bytes once the command has ended; processes that it left behind are not waited for."""
        os.eventfd_write(self._ended, 1)
        self._thread.join()
        os.close(self._ended)

    def resize(self) -> None:
        """Set the size of the command's terminal to that of ours."""
        if self._terminal:
            with suppress(OSError):
                _copy_size(self._ours, self._source)

    def _copy(self) -> None:
        sources = select.poll()
        sources.register(self._source, select.POLLIN)
        sources.register(self._ended, select.POLLIN)
        try:
            while self._ended not in dict(sources.poll()):
                if self._copy_some() == 0:
                    return
            sources.unregister(self._ended)
            left = _LAST_BYTES
            while left > 0 and sources.poll(_LAST_MILLISECONDS):
                some = self._copy_some()
                left -= some or left
        except OSError:
            pass  # ours is closed; the command gets an error when it writes, as it would without us
        finally:
            os.close(self._source)

    def _copy_some(self) -> int:
        """Copy what is there, and return how much; 0: no process has the other end open."""
        data = _read_some(self._source)
        if data:
            _write(self._ours, data)
            self._read(data)
        return len(data)


def _terminal_like(terminal: int) -> tuple[int, int]:
    ours, theirs = os.openpty()
    attributes = termios.tcgetattr(theirs)
    attributes[1] &= ~termios.OPOST  # our terminal converts the ends of lines
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    with suppress(OSError):
        _copy_size(terminal, ours)
    return ours, theirs


def _copy_size(source: int, destination: int) -> None:
    fcntl.ioctl(destination, termios.TIOCSWINSZ, fcntl.ioctl(source, termios.TIOCGWINSZ, bytes(8)))


def _read_some(source: int) -> bytes:
    try:
        return os.read(source, _CHUNK_BYTES)
    except OSError:
        return b""  # a terminal whose other end is closed


def _write(destination: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(destination, left) :]
