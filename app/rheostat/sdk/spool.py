"""What could not be sent to the server waits on disk, and is sent later, by this run or by the next one.

One file for each run, a letter on each line, so that they arrive in the order in which they were written. Each is a
request that the server takes for the same one when it comes twice. The process that writes a file holds its lock;
what it leaves behind when it ends, anybody may send who uses the same server.
"""

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from uuid import uuid4

_log = logging.getLogger("rheostat")

DIRECTORY_VARIABLE = "RHEOSTAT_SPOOL_DIR"
_VERSION = 1
_MOST_BYTES = 16 * 2**20
"""Of all files; the oldest runs are dropped for new ones."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A request that waits.

    Attributes:
        method: Of HTTP.
        path: On the server.
        body: JSON.
        answer: Name of the wire model that the server answers with; anything else comes from another program.
        idempotency_key: Makes a repetition the same request, where the route needs one.
    """

    method: str
    path: str
    body: str
    answer: str
    idempotency_key: str | None = None


def spool_directory() -> Path:
    """Return where letters wait: ``RHEOSTAT_SPOOL_DIR``, else in the user's directory for state (XDG)."""
    if (named := os.environ.get(DIRECTORY_VARIABLE)) is not None:
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Path(state) / "rheostat" / "spool"


class Outbox:
    """The letters of one run. Without a disk to write to, they wait in memory, and are lost with the process.

    Args:
        url: The server they are for.
        directory: Where they wait.
    """

    def __init__(self, url: str, directory: Path) -> None:
        self._url = url
        self._directory = directory
        self._letters: list[Letter] = []
        self._file: IO[str] | None = None
        self._path: Path | None = None
        self._failed = False

    def __len__(self) -> int:
        return len(self._letters)

    @property
    def first(self) -> Letter | None:
        """The letter to send next."""
        return self._letters[0] if self._letters else None

    def add(self, letter: Letter) -> None:
        """Let a letter wait."""
        self._letters.append(letter)
        if self._failed:
            return
        try:
            self._write(letter)
        except OSError as error:
            self._failed = True
            _log.warning("Reports wait in memory alone: %s", error)

    def adopt(self, left: "Waiting", file: IO[str]) -> None:
        """Take over what another run has left; the file is open and locked."""
        self._letters, self._path, self._file = left.letters, left.path, file

    def drop_first(self) -> None:
        """Forget the letter that was sent."""
        del self._letters[0]
        if not self._letters:
            self._remove()

    def close(self) -> None:
        """Leave what could not be sent to others; without what was sent."""
        if self._file is None or self._path is None:
            return
        with suppress(OSError):
            _rewrite(self._path, self._url, self._letters)
        self._file.close()
        self._file = None

    def _write(self, letter: Letter) -> None:
        if self._file is None:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make_room(self._directory)
            self._path = self._directory / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid4().hex}.jsonl"
            self._file = self._path.open("x", encoding="utf-8")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file.write(_header(self._url))
        self._file.write(_line(letter))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _remove(self) -> None:
        if self._file is not None and self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file that a run has left.

    Attributes:
        path: Where it is.
        url: The server that it is for.
        letters: What is in it, in order.
    """

    path: Path
    url: str
    letters: list[Letter]


def waiting(directory: Path) -> list[Waiting]:
    """Return what runs have left, oldest first, those that still write to theirs included."""
    found = []
    for path in sorted(directory.glob("*.jsonl")):
        with suppress(OSError, ValueError, LookupError, TypeError):
            found.append(_read(path))
    return found


@contextmanager
def taken(left: Waiting) -> Iterator[Outbox | None]:
    """Give the letters of a run that has ended, for the length of a block; None while somebody else has them."""
    try:
        with left.path.open("r+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            if not left.path.exists():  # it was sent between our look and our lock
                yield None
                return
            outbox = Outbox(left.url, left.path.parent)
            outbox.adopt(_read(left.path), file)
            try:
                yield outbox
            finally:
                outbox.close()
    except FileNotFoundError:
        yield None


def _header(url: str) -> str:
    return json.dumps({"version": _VERSION, "url": url}) + "\n"


def _line(letter: Letter) -> str:
    return json.dumps(asdict(letter)) + "\n"


def _read(path: Path) -> Waiting:
    lines = path.read_text(encoding="utf-8").splitlines()
    header = json.loads(lines[0])
    if header["version"] != _VERSION:
        raise ValueError("another version wrote it")
    letters = []
    for line in lines[1:]:
        with suppress(ValueError):  # the last line of a process that was killed while it wrote
            letters.append(Letter(**json.loads(line)))
    return Waiting(path, header["url"], letters)


def _rewrite(path: Path, url: str, letters: list[Letter]) -> None:
    if not letters:
        path.unlink(missing_ok=True)
        return
    temporary = path.with_suffix(".tmp")
    temporary.write_text(_header(url) + "".join(map(_line, letters)), encoding="utf-8")
    temporary.replace(path)


def _make_room(directory: Path) -> None:
    """Drop the oldest runs while there is too much."""
    files = sorted(directory.glob("*.jsonl"))
    total = sum(path.stat().st_size for path in files)
    while total > _MOST_BYTES and files:
        oldest = files.pop(0)
        total -= oldest.stat().st_size
        oldest.unlink(missing_ok=True)
        _log.warning("The spool is full: the reports of an old run were dropped (%s).", oldest)
