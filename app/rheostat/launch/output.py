"""Passes a command's output through, byte for byte and at once, and looks at it on the way."""

import fcntl
import os
import re
import select
import termios
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

_CHUNK_BYTES = 2**16
_TAIL_BYTES = 2**14
# More than a pipe holds: what came before the end is passed on, but not for ever what is written after it.
_LAST_BYTES = 2**20
_LAST_MILLISECONDS = 50
_OUT_OF_MEMORY = re.compile(
    rb"out[ _-]?of[ _-]?memory|\bMemoryError\b|\bOOM when allocating|CUBLAS_STATUS_ALLOC_FAILED"
    rb"|cudaErrorMemoryAllocation",
    re.IGNORECASE,
)


class Passage:
    """One output of a command, from its end to ours. Where ours is a terminal, the command sees one, too.

    Attributes:
        theirs: The descriptor to start the command with.

    Args:
        ours: Where the bytes go.
        see: Is shown them, in a thread.
    """

    def __init__(self, ours: int, see: Callable[[bytes], None]) -> None:
        self._ours = ours
        self._see = see
        self._terminal = os.isatty(ours)
        self._source, self.theirs = _terminal_like(ours) if self._terminal else os.pipe()
        self._finishing = os.eventfd(0, os.EFD_CLOEXEC)
        self._tail = b""
        self._thread = Thread(target=self._pass, name=f"rheostat-output-{ours}", daemon=True)

    def start(self) -> None:
        """Begin to pass on; the command has been started, or never will be."""
        os.close(self.theirs)
        self._thread.start()

    def finish(self) -> None:
        """Pass on the last bytes; the command has ended, and what it has left behind is not waited for."""
        os.eventfd_write(self._finishing, 1)
        self._thread.join()
        os.close(self._finishing)

    def resize(self) -> None:
        """Let the command's terminal be as large as ours."""
        if self._terminal:
            with suppress(OSError):
                _copy_size(self._ours, self._source)

    def tells_of_memory(self) -> bool:
        """Whether the last of it speaks of memory that was not to be had."""
        return _OUT_OF_MEMORY.search(self._tail) is not None

    def _pass(self) -> None:
        sources = select.poll()
        sources.register(self._source, select.POLLIN)
        sources.register(self._finishing, select.POLLIN)
        try:
            while self._finishing not in dict(sources.poll()):
                if self._pass_some() == 0:
                    return
            sources.unregister(self._finishing)
            left = _LAST_BYTES
            while left > 0 and sources.poll(_LAST_MILLISECONDS):
                some = self._pass_some()
                left -= some or left
        except OSError:
            pass  # nobody reads ours any more; the command learns it when it writes, as it would without us
        finally:
            os.close(self._source)

    def _pass_some(self) -> int:
        """Pass on what there is, and return how much; 0: nobody can write any more."""
        data = _read(self._source)
        if data:
            _write(self._ours, data)
            self._tail = (self._tail + data)[-_TAIL_BYTES:]
            self._see(data)
        return len(data)


def _terminal_like(terminal: int) -> tuple[int, int]:
    ours, theirs = os.openpty()
    attributes = termios.tcgetattr(theirs)
    attributes[1] &= ~termios.OPOST  # our terminal sees to the ends of lines
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    with suppress(OSError):
        _copy_size(terminal, ours)
    return ours, theirs


def _copy_size(source: int, destination: int) -> None:
    fcntl.ioctl(destination, termios.TIOCSWINSZ, fcntl.ioctl(source, termios.TIOCGWINSZ, bytes(8)))


def _read(source: int) -> bytes:
    try:
        return os.read(source, _CHUNK_BYTES)
    except OSError:
        return b""  # so ends a terminal that nobody has open any more


def _write(destination: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(destination, left) :]
