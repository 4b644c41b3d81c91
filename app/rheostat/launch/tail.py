"""Follows a file while a command writes it."""

import os
from contextlib import suppress
from pathlib import Path

from rheostat.launch.readings import LineSplitter

_MARK_BYTES = 256


class FileTail:
    """Returns the lines that are written to a file from now on; it may be truncated, replaced, or not there yet.

    Args:
        path: The file. What it has already belongs to earlier runs, except for a CSV header.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = LineSplitter()
        self._columns: list[str] = []
        self._fd = self._opened()
        if self._fd is not None:
            self._skip(self._fd)

    def poll(self) -> list[str]:
        """Return the lines that were completed since the last call."""
        lines, self._columns = self._columns, []
        self._fd = self._opened() if self._fd is None else self._fd
        if self._fd is None:
            return lines
        replaced = self._is_replaced(self._fd)
        lines += self._read(self._fd)
        if replaced:
            lines += self._lines.rest()
            self.close()
            lines += self.poll()
        return lines

    def rest(self) -> list[str]:
        """Return the last lines, after the writer has ended."""
        return self.poll() + self._lines.rest()

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _opened(self) -> int | None:
        self._position, self._mark = 0, b""
        with suppress(OSError):
            if self._path.is_file():  # opening a FIFO would wait for its writer
                return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return None

    def _skip(self, fd: int) -> None:
        first = os.pread(fd, 2**16, 0).split(b"\n")[0].decode(errors="replace")
        if first.strip() and not first.lstrip().startswith("{"):
            self._columns = [first]
        self._position = os.fstat(fd).st_size
        self._mark = os.pread(fd, _MARK_BYTES, max(0, self._position - _MARK_BYTES))

    def _read(self, fd: int) -> list[str]:
        # A truncated file may have grown past our position again since; its bytes before the position differ then.
        if os.pread(fd, len(self._mark), self._position - len(self._mark)) != self._mark:
            self._position, self._mark, self._lines = 0, b"", LineSplitter()
        data = bytearray()
        while more := os.pread(fd, 2**16, self._position + len(data)):
            data += more
        self._position += len(data)
        self._mark = (self._mark + data)[-_MARK_BYTES:]
        return self._lines.feed(bytes(data))

    def _is_replaced(self, fd: int) -> bool:
        with suppress(OSError):
            return not os.path.samestat(self._path.stat(), os.fstat(fd))
        return False  # it was removed; another may follow
