"""Passes a command's output through, byte for byte and at once, and looks at it on the way."""

import fcntl
import os
import re
import termios
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

_CHUNK_BYTES = 2**16
_TAIL_BYTES = 2**14
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
        self._tail = b""
        self._thread = Thread(target=self._pass, name=f"rheostat-output-{ours}", daemon=True)

    def start(self) -> None:
        """Begin to pass on; the command has been started, or never will be."""
        os.close(self.theirs)
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Wait for the last bytes; what the command has left behind may go on to write, and is not waited for."""
        self._thread.join(seconds)

    def resize(self) -> None:
        """Let the command's terminal be as large as ours."""
        if self._terminal:
            with suppress(OSError):
                _copy_size(self._ours, self._source)

    def tells_of_memory(self) -> bool:
        """Whether the last of it speaks of memory that was not to be had."""
        return _OUT_OF_MEMORY.search(self._tail) is not None

    def _pass(self) -> None:
        try:
            while data := _read(self._source):
                _write(self._ours, data)
                self._tail = (self._tail + data)[-_TAIL_BYTES:]
                self._see(data)
        except OSError:
            pass  # nobody reads ours any more; the command learns it when it writes, as it would without us
        finally:
            os.close(self._source)


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
