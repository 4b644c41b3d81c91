"""Requests that wait on disk for the server, to be sent later by this run or by a later one.

One file for each run, one request on each line, in the order in which they were made. The server recognises a repeated
request. The process that writes a file holds its lock; once it has ended, any process that uses the same server may
send what is left.
"""

import fcntl
import json
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4
from weakref import WeakSet

from rheostat.schemas.fields import Body
from rheostat.schemas.power import PowerLimitAnswer
from rheostat.schemas.server import JobDetail
from rheostat.schemas.trials import ObserveAnswer, ObserveRunAnswer
from rheostat.sdk.exchange import HttpRequest

_log = logging.getLogger("rheostat")

DIRECTORY_VARIABLE = "RHEOSTAT_SPOOL_DIR"
_VERSION = 1
MOST_BYTES = 16 * 2**20
"""Of all files together; the oldest requests are dropped for new ones."""
_SENT_PER_REWRITE = 100
"""After so many requests that were sent a file is written without them, so that short runs get a long backlog sent."""

_FIELDS = ("method", "path", "body", "answer", "idempotency_key")
_ANSWERS: dict[str, type[Body]] = {
    model.__name__: model for model in (JobDetail, ObserveAnswer, ObserveRunAnswer, PowerLimitAnswer)
}


def spool_directory() -> Path:
    """Return where requests wait: ``RHEOSTAT_SPOOL_DIR``, else in the user's directory for state (XDG).

    A user without a home directory, as in a container, has one for temporary files.
    """
    if named := os.environ.get(DIRECTORY_VARIABLE):
        return Path(named)
    try:
        state = Path(os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser())
    except RuntimeError:
        return _temporary_directory()
    return state / "rheostat" / "spool"


def _temporary_directory() -> Path:
    nowhere = Path(os.devnull)
    try:
        directory = Path(tempfile.gettempdir()) / f"rheostat-spool-{os.geteuid()}"
        # Another user's would send what that user likes, with our token.
        return directory if not directory.exists() or directory.stat().st_uid == os.geteuid() else nowhere
    except OSError:
        return nowhere


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
        self._file: BinaryIO | None = None
        self._path: Path | None = None
        self._size = 0
        self._failed = False
        self._sent = 0
        _queues.add(self)

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def first(self) -> HttpRequest[Body] | None:
        """The request to send next."""
        return self._requests[0] if self._requests else None

    def append(self, request: HttpRequest[Body], *, durably: bool = True) -> int:
        """Add a request; return how many of the oldest were dropped for it.

        Args:
            request: The request.
            durably: Whether to wait for the disk; else `close` does, once for all.
        """
        self._requests.append(request)
        count = len(self._requests)
        if not self._failed:
            try:
                self._write(request, durably=durably)
            except OSError as error:
                self._failed = True
                _log.warning("Unsent reports are kept in memory only, and are lost when this process ends: %s", error)
        return count - len(self._requests)

    def adopt(self, left: "SpoolFile", file: BinaryIO) -> None:
        """Take over the file of an earlier run; it is open and locked."""
        self._requests, self._path, self._file = list(left.requests), left.path, file

    def drop_first(self) -> None:
        """Remove the request that was sent."""
        del self._requests[0]
        self._sent += 1
        if not self._requests:
            self._remove()
        elif self._file is not None and self._sent % _SENT_PER_REWRITE == 0:
            with suppress(OSError):  # what was sent is sent again, which changes nothing
                self._rewrite()

    def close(self) -> None:
        """Leave what is still unsent to later runs."""
        if self._requests and (self._failed or self._file is not None):
            try:
                self._rewrite()  # without what was sent; what failed earlier may succeed now
            except OSError as error:
                if self._failed:
                    _log.warning("%d unsent reports are lost: %s", len(self._requests), error)
        if self._file is not None:
            self._file.close()
            self._file = None

    def let_go(self) -> None:
        """Close the file without a change, in a child that was forked: an open file keeps its lock."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, request: HttpRequest[Body], *, durably: bool) -> None:
        line, header = _line(request), _header(self._url)
        if self._file is None:
            self._size = len(header)
        room = _make_room(self._directory, self._size + len(line), self._path)
        if len(header) + len(line) > room:
            raise OSError("the spool is full of the reports of other runs")
        dropped = 0
        while self._size + len(line) > room:
            half = len(self._requests) // 2
            dropped += half
            del self._requests[:half]
            self._size = len(header) + sum(len(_line(left)) for left in self._requests) - len(line)
        if dropped:
            _log.warning("The spool is full: the oldest %d unsent reports of this run were dropped.", dropped)
        if dropped or self._file is None:
            self._rewrite()
            return
        if self._file.write(line) != len(line):
            self._file.truncate(self._size)
            raise OSError("the file system is full")
        if durably:
            os.fsync(self._file.fileno())
        self._size += len(line)

    def _rewrite(self) -> None:
        """Write all requests into a new file, which takes the place of the old one, and lock it."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path or self._directory / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid4().hex}.jsonl"
        temporary = path.with_suffix(".tmp")
        content = _header(self._url) + b"".join(map(_line, self._requests))
        file = temporary.open("wb", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if file.write(content) != len(content):
                raise OSError("the file system is full")
            os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            file.close()
            temporary.unlink(missing_ok=True)
            raise
        if self._file is not None:
            self._file.close()
        self._file, self._path, self._size = file, path, len(content)

    def _remove(self) -> None:
        if self._file is not None and self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
            self._file.close()
            self._file, self._size = None, 0


_queues: "WeakSet[RequestQueue]" = WeakSet()


def _let_go_of_all() -> None:
    for queue in list(_queues):
        queue.let_go()


os.register_at_fork(after_in_child=_let_go_of_all)


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """A file in the spool, as it was read.

    Attributes:
        path: Where it is.
        url: The server that its requests are for.
        requests: Those, in order.
        unreadable: Its lines that are no requests.
    """

    path: Path
    url: str
    requests: Sequence[HttpRequest[Body]]
    unreadable: Sequence[bytes] = ()


def spool_files(directory: Path) -> list[SpoolFile]:
    """Return the files of a spool, oldest first, including those of runs that still write to theirs."""
    found = []
    for path in sorted(directory.glob("*.jsonl")):
        try:
            found.append(_read(path))
        except (OSError, _OtherVersion) as error:
            _log.info("%s is not read: %s", path, error)
        except (ValueError, LookupError, TypeError):
            with suppress(OSError):
                _log.warning("Unsent reports cannot be read; they are in %s.", path.replace(_aside(path)))
    return found


@dataclass(frozen=True, slots=True)
class SpoolUse:
    """What a spool holds.

    Attributes:
        waiting: Number of requests that wait, by their server's address.
        size_bytes: Of all its files together.
        unreadable: Files that cannot be read, and those set aside for it.
    """

    waiting: Mapping[str, int]
    size_bytes: int
    unreadable: Sequence[Path]


def spool_use(directory: Path) -> SpoolUse:
    """Return what a spool holds, and set nothing aside."""
    waiting: Counter[str] = Counter()
    size_bytes, unreadable = 0, list(directory.glob(_aside(Path("*")).name))
    for path in directory.glob("*.jsonl"):
        try:
            size_bytes += path.stat().st_size
            found = _read(path)
            waiting[found.url] += len(found.requests)
        except FileNotFoundError:  # sent meanwhile
            continue
        except (OSError, ValueError, LookupError, TypeError, _OtherVersion):
            unreadable.append(path)
    return SpoolUse(waiting, size_bytes, sorted(unreadable))


class _OtherVersion(Exception):
    """A file that another version of Rheostat has written, and may read."""


@contextmanager
def claimed(left: SpoolFile) -> Iterator[RequestQueue | None]:
    """Give the requests of a run that has ended, for the length of a block; None while another process has them.

    What is unreadable in its file is set aside.
    """
    with _locked(left.path) as file:
        if file is None:
            yield None
            return
        queue = RequestQueue(left.url, left.path.parent)
        now = _read(left.path)  # it may have grown
        queue.adopt(now, file)
        if now.unreadable:
            _set_aside(now)
        try:
            yield queue
        finally:
            queue.close()


def discard(left: SpoolFile) -> bool:
    """Delete the file of a run that has ended, unsent; return whether it is gone, and not another process's."""
    with _locked(left.path) as file:
        if file is not None:
            left.path.unlink(missing_ok=True)
        return file is not None


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO | None]:
    """Open and lock a file; None when its owner lives, or it is gone or somebody else's."""
    try:
        file = path.open("r+b", buffering=0)
    except OSError:
        yield None
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another process may have sent it, or its owner replaced it, before we had the lock.
            is_current = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except OSError:
            is_current = False
        yield file if is_current else None


def _header(url: str) -> bytes:
    return json.dumps({"version": _VERSION, "url": url}).encode() + b"\n"


def _line(request: HttpRequest[Body]) -> bytes:
    values = (request.method, request.path, request.body, request.answer.__name__, request.idempotency_key)
    return json.dumps(dict(zip(_FIELDS, values, strict=True))).encode() + b"\n"


def _read(path: Path) -> SpoolFile:
    first, *lines = path.read_bytes().split(b"\n")
    header = json.loads(first)
    if header["version"] != _VERSION:
        raise _OtherVersion("another version wrote it")
    requests, unreadable = [], []
    for line in lines[:-1]:  # what follows the last end of a line was cut off with its process
        try:
            requests.append(_request(json.loads(line)))
        except (ValueError, LookupError, TypeError, AttributeError):
            unreadable.append(line)
    return SpoolFile(path, str(header["url"]), requests, unreadable)


def _request(fields: dict[str, str | None]) -> HttpRequest[Body]:
    method, url_path, body, answer, key = (fields[name] for name in _FIELDS)
    texts = (method or "", url_path or "", key or "")
    if not all(text.isascii() and text.isprintable() for text in texts) or not texts[1].startswith("/v1/"):
        raise ValueError("it is not a request")
    (body or "").encode()
    return HttpRequest(texts[0], texts[1], _ANSWERS[answer or ""], body, key)


def _set_aside(left: SpoolFile) -> None:
    aside = _aside(left.path)
    with suppress(OSError), aside.open("ab") as file:
        file.writelines(line + b"\n" for line in left.unreadable)
    _log.warning("%d unsent reports cannot be read; they are in %s.", len(left.unreadable), aside)


def _aside(path: Path) -> Path:
    return path.with_suffix(".unreadable")


def _make_room(directory: Path, wanted_bytes: int, own: Path | None) -> int:
    """Drop the oldest files of runs that have ended, as far as needed; return how large a run's own may be."""
    sizes = {}
    for path in sorted(directory.glob("*.jsonl")):
        if path != own:
            with suppress(OSError):
                sizes[path] = path.stat().st_size
    room = MOST_BYTES - sum(sizes.values())
    for path, size in sizes.items():
        if room >= wanted_bytes:
            break
        with _locked(path) as file:
            if file is not None:
                path.unlink(missing_ok=True)
                room += size
                _log.warning("The spool is full: the unsent reports of an old run were dropped (%s).", path)
    return room
