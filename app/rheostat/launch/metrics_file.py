"""Follows a file that a command writes its metric to: appended to, written anew, replaced, or not there yet."""

import os
from collections.abc import Iterable
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import NamedTuple

from rheostat.launch.documents import is_document, records
from rheostat.launch.new_readings import NewReadings
from rheostat.launch.readings import FileReader, LineSplitter, Reading

_MARK_BYTES = 256
_MOST_EARLIER_BYTES = 2**24
_POLLS_PER_LOOK = 10
"""Patterns are looked up less often than files are read: there may be many folders."""


class _Stamp(NamedTuple):
    inode: int
    size: int
    modified_ns: int


class MetricsFile:
    """Returns the evaluations that a command writes to a file; what the file has already belongs to earlier runs.

    Args:
        path: The file; with ``*`` or ``?`` a pattern, of which the newest file counts that was written since.
        reader: Reads its lines and records.
    """

    def __init__(self, path: str, reader: FileReader) -> None:
        self._reader = reader
        self._path = path
        self._is_pattern = "*" in path or "?" in path
        self._at_start = {file: (stamp, _end(file, stamp.size)) for file, stamp in self._stamps().items()}
        self._polls = 0
        self._file: Path | None = None
        self._fd: int | None = None
        self._new = NewReadings()
        self._forget()
        if not self._is_pattern:
            self._open(Path(path))

    @property
    def was_found(self) -> bool:
        """Whether there is a file, or one of the pattern that was written since."""
        return self._file is not None

    def poll(self, *, is_last: bool = False) -> list[Reading]:
        """Return the evaluations that came since the last call; of the last line, if it has no end, at last."""
        readings = self._read(is_last=is_last)
        newest = self._newest(is_last=is_last)
        if newest is not None and (self._fd is None or newest != self._file or self._is_replaced(self._fd)):
            readings += self._finish_lines()
            self._open(newest)
            readings += self._read(is_last=is_last)
        return readings

    def close(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _stamps(self) -> dict[Path, _Stamp]:
        """Return all files that may be meant."""
        named = [self._path]
        if self._is_pattern:
            named = glob(self._path.replace("[", "[[]"), recursive=True)  # noqa: PTH207 -- it may be absolute
        return {file: stamp for file in map(Path, named) if (stamp := _stamp(file)) is not None}

    def _newest(self, *, is_last: bool) -> Path | None:
        """Return the file to read now."""
        if not self._is_pattern:
            return Path(self._path)
        self._polls += 1
        if (self._polls - 1) % _POLLS_PER_LOOK and not is_last:
            return self._file
        stamps = self._stamps()
        written = [
            file for file, stamp in stamps.items() if file not in self._at_start or self._at_start[file][0] != stamp
        ]
        return max(written, key=lambda file: stamps[file].modified_ns, default=self._file)

    def _forget(self) -> None:
        """Forget how far the open file was read."""
        self._position, self._mark, self._lines = 0, b"", LineSplitter()
        self._seen: _Stamp | None = None
        self._is_document = False
        self._is_settled = False
        self._unchanged = 0

    def _open(self, file: Path) -> None:
        """Open a file; what it had at the start is known from then on, if that is still there."""
        if _stamp(file) is None:
            return
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        self.close()
        self._forget()
        self._file, self._fd = file, descriptor
        before, end = self._at_start.pop(file, (None, b""))
        if before is None or self._content(before.size - len(end), before.size) != end:
            return  # it came later, or was written anew meanwhile
        if before.size <= _MOST_EARLIER_BYTES:
            self._new.begin_with(self._all(self._content(0, before.size), is_last=True) or [])
        else:
            self._readings(self._content(0, 2**16).decode(errors="replace").splitlines()[:1])  # a header of columns
        self._reader.names.clear()
        self._lines = LineSplitter()
        self._position, self._mark, self._seen, self._is_settled = before.size, end, before, True

    def _read(self, *, is_last: bool) -> list[Reading]:
        if self._fd is None:
            return []
        stat = os.fstat(self._fd)
        stamp = _Stamp(stat.st_ino, stat.st_size, stat.st_mtime_ns)
        self._unchanged = self._unchanged + 1 if stamp == self._seen else 0
        if self._unchanged > 0 and (self._is_settled or self._unchanged > 1) and not is_last:
            return []
        self._seen = stamp
        if self._is_settled and not self._is_document and self._is_appended_to(stamp.size):
            return self._append(is_last=is_last)
        if self._is_settled and self._unchanged > 0:
            return self._finish_lines()
        return self._read_anew(is_stable=self._unchanged > 0 or is_last, is_last=is_last)

    def _is_appended_to(self, size: int) -> bool:
        # A truncated file may have grown past our position again since; its bytes before the position differ then.
        begin = self._position - len(self._mark)
        return size > self._position and self._content(begin, self._position) == self._mark

    def _append(self, *, is_last: bool) -> list[Reading]:
        data = self._content(self._position)
        self._position += len(data)
        self._mark = (self._mark + data)[-_MARK_BYTES:]
        readings = self._readings(self._lines.feed(data))
        return readings + (self._finish_lines() if is_last else [])

    def _finish_lines(self) -> list[Reading]:
        return [] if self._is_document else self._readings(self._lines.rest())

    def _readings(self, lines: Iterable[str]) -> list[Reading]:
        """Return the evaluations of lines that were appended."""
        readings = [reading for line in lines if (reading := self._reader(line)) is not None]
        for reading in readings:
            self._new.append(reading)
        return readings

    def _read_anew(self, *, is_stable: bool, is_last: bool) -> list[Reading]:
        content = self._content(0)
        if (found := self._all(content, is_last=is_last)) is None:
            return []
        new = self._new.update(found, is_stable=is_stable)
        # A document is complete, and lines go on where they ended; fewer than before may still be written.
        self._is_settled = new is not None and (self._is_document or len(found) >= self._new.count)
        self._position, self._mark = len(content), content[-_MARK_BYTES:]
        return new or []

    def _all(self, content: bytes, *, is_last: bool) -> list[Reading] | None:
        """Return all evaluations of a content; None: it is a document that is not complete."""
        text = content.decode(errors="replace")
        self._is_document = is_document(text, self._reader.metric)
        if self._is_document:
            found = records(text, self._reader.metric)
            return None if found is None else [one for one in map(self._reader.read, found) if one is not None]
        self._lines = LineSplitter()
        lines = self._lines.feed(content)
        lines += self._lines.rest() if is_last else []
        return [reading for line in lines if (reading := self._reader(line)) is not None]

    def _content(self, begin: int, end: int | None = None) -> bytes:
        assert self._fd is not None
        data = bytearray()
        while end is None or len(data) < end - begin:
            most = 2**16 if end is None else min(2**16, end - begin - len(data))
            if not (more := os.pread(self._fd, most, begin + len(data))):
                break
            data += more
        return bytes(data)

    def _is_replaced(self, fd: int) -> bool:
        with suppress(OSError):
            assert self._file is not None
            return not os.path.samestat(self._file.stat(), os.fstat(fd))
        return False  # it was removed; another may follow


def _end(file: Path, size: int) -> bytes:
    """Return the last bytes of a file."""
    with suppress(OSError), file.open("rb") as opened:
        opened.seek(max(0, size - _MARK_BYTES))
        return opened.read(_MARK_BYTES)
    return b""


def _stamp(file: Path) -> _Stamp | None:
    """Return what changes when a file is written; None: there is none to read. Opening a FIFO would wait."""
    with suppress(OSError):
        if file.is_file():
            stat = file.stat()
            return _Stamp(stat.st_ino, stat.st_size, stat.st_mtime_ns)
    return None
