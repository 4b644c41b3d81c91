"""Requests that wait on disk for the server, to be sent later by this run or by a later one.

One file for each run, one request on each line, in the order in which they were made. The server recognises a repeated
request. The process that writes a file holds its lock; once it has ended, any process that uses the same server may
send what is left.
"""

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from uuid import uuid4

from rheostat.schemas.fields import Body
from rheostat.schemas.server import JobDetail, ObserveAnswer, ObserveRunAnswer, PowerLimitAnswer
from rheostat.sdk.transport import HttpRequest

_log = logging.getLogger("rheostat")

DIRECTORY_VARIABLE = "RHEOSTAT_SPOOL_DIR"
_VERSION = 1
_MOST_BYTES = 16 * 2**20
"""Of all files together; the oldest are dropped for new ones."""

_FIELDS = ("method", "path", "body", "answer", "idempotency_key")
_ANSWERS: dict[str, type[Body]] = {
    model.__name__: model for model in (JobDetail, ObserveAnswer, ObserveRunAnswer, PowerLimitAnswer)
}


def spool_directory() -> Path:
    """Return where requests wait: ``RHEOSTAT_SPOOL_DIR``, else in the user's directory for state (XDG)."""
    if (named := os.environ.get(DIRECTORY_VARIABLE)) is not None:
        return Path(named)
    state = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Path(state) / "rheostat" / "spool"


class RequestQueue:
    """The waiting requests of one run, in order. Where the disk cannot be written, they are kept in memory only.

    Args:
        url: The server they are for.
        directory: Where they wait.
    """

    def __init__(self, url: str, directory: Path) -> None:
        self._url = url
        self._directory = directory
        self._requests: list[HttpRequest[Body]] = []
        self._file: IO[str] | None = None
        self._path: Path | None = None
        self._failed = False

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def first(self) -> HttpRequest[Body] | None:
        """The request to send next."""
        return self._requests[0] if self._requests else None

    def append(self, request: HttpRequest[Body]) -> None:
        """Add a request, durably."""
        self._requests.append(request)
        if self._failed:
            return
        try:
            self._write(request)
        except OSError as error:
            self._failed = True
            _log.warning("Unsent reports are kept in memory only, and are lost when this process ends: %s", error)

    def adopt(self, left: "SpoolFile", file: IO[str]) -> None:
        """Take over the file of an earlier run; it is open and locked."""
        self._requests, self._path, self._file = left.requests, left.path, file

    def drop_first(self) -> None:
        """Remove the request that was sent."""
        del self._requests[0]
        if not self._requests:
            self._remove()

    def close(self) -> None:
        """Leave what is still unsent to later runs."""
        if self._file is None or self._path is None:
            return
        with suppress(OSError):
            _rewrite(self._path, self._url, self._requests)
        self._file.close()
        self._file = None

    def _write(self, request: HttpRequest[Body]) -> None:
        if self._file is None:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _make_room(self._directory)
            self._path = self._directory / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid4().hex}.jsonl"
            self._file = self._path.open("x", encoding="utf-8")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file.write(_header(self._url))
        self._file.write(_line(request))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _remove(self) -> None:
        if self._file is not None and self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """A file in the spool, as it was read.

    Attributes:
        path: Where it is.
        url: The server that its requests are for.
        requests: Those, in order.
    """

    path: Path
    url: str
    requests: list[HttpRequest[Body]]


def spool_files(directory: Path) -> list[SpoolFile]:
    """Return the files of a spool, oldest first, including those of runs that still write to theirs."""
    found = []
    for path in sorted(directory.glob("*.jsonl")):
        with suppress(OSError, ValueError, LookupError, TypeError):
            found.append(_read(path))
    return found


@contextmanager
def claimed(left: SpoolFile) -> Iterator[RequestQueue | None]:
    """Give the requests of a run that has ended, for the length of a block; None while another process has them."""
    try:
        with left.path.open("r+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            if not left.path.exists():  # another process sent it before we had the lock
                yield None
                return
            queue = RequestQueue(left.url, left.path.parent)
            queue.adopt(_read(left.path), file)
            try:
                yield queue
            finally:
                queue.close()
    except FileNotFoundError:
        yield None


def _header(url: str) -> str:
    return json.dumps({"version": _VERSION, "url": url}) + "\n"


def _line(request: HttpRequest[Body]) -> str:
    values = (request.method, request.path, request.body, request.answer.__name__, request.idempotency_key)
    return json.dumps(dict(zip(_FIELDS, values, strict=True))) + "\n"


def _read(path: Path) -> SpoolFile:
    lines = path.read_text(encoding="utf-8").splitlines()
    header = json.loads(lines[0])
    if header["version"] != _VERSION:
        raise ValueError("the file is of another version")
    requests = []
    for line in lines[1:]:
        with suppress(ValueError):  # the last line of a process that was killed while it wrote
            method, url_path, body, answer, key = (json.loads(line)[name] for name in _FIELDS)
            requests.append(HttpRequest(method, url_path, _ANSWERS[answer], body, key))
    return SpoolFile(path, header["url"], requests)


def _rewrite(path: Path, url: str, requests: list[HttpRequest[Body]]) -> None:
    if not requests:
        path.unlink(missing_ok=True)
        return
    temporary = path.with_suffix(".tmp")
    temporary.write_text(_header(url) + "".join(map(_line, requests)), encoding="utf-8")
    temporary.replace(path)


def _make_room(directory: Path) -> None:
    """Drop the oldest files while there is too much."""
    files = sorted(directory.glob("*.jsonl"))
    total = sum(path.stat().st_size for path in files)
    while total > _MOST_BYTES and files:
        oldest = files.pop(0)
        total -= oldest.stat().st_size
        oldest.unlink(missing_ok=True)
        _log.warning("The spool is full: the unsent reports of an old run were dropped (%s).", oldest)
