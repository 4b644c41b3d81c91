"""The write-ahead ledger: what every GPU's limit was before we changed it, durable before we do.

One small file per GPU, named by its UUID, in the runtime directory. A file appears and changes only by rename, so that
whoever dies, whenever, leaves either the old entry or the new one. No file: nothing of ours is on that GPU.
"""

import fcntl
import json
import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rheostat.errors import ConfigurationError, LedgerFailed

logger = logging.getLogger(__name__)

_VERSION = 1
_UUID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,95}")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that a lease is tied to.

    Attributes:
        pid: Its id.
        start_ticks: When it started, in clock ticks since boot: tells it from a later one of the same id.
        uid: Its user.
    """

    pid: int
    start_ticks: int
    uid: int


@dataclass(frozen=True, slots=True)
class Terms:
    """What a lease was granted for.

    Attributes:
        lease_id: Names the lease.
        owner: Whose it is.
        ttl_seconds: It lapses when it is silent for longer.
        job_id: What the owner trains, if it said so.
        trial_id: In which trial.
    """

    lease_id: str
    owner: Owner
    ttl_seconds: float
    job_id: str | None = None
    trial_id: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What must be put back on a GPU.

    Attributes:
        uuid: The GPU.
        found_milliwatts: The limit that was there before us.
        ours_milliwatts: The limits that we may have left there: the one set and the one about to be.
        terms: The lease under which that happened.
    """

    uuid: str
    found_milliwatts: int
    ours_milliwatts: tuple[int, ...]
    terms: Terms


class Ledger:
    """The entries of this node.

    Args:
        directory: Where they are kept; made when it is not there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._boot_id = _BOOT_ID.read_text().strip()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only agent on this node for the length of a block.

        Raises:
            ConfigurationError: When another one is, or when the directory cannot be used.
        """
        try:
            self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            _check_owner(self._directory)
            lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(f"The ledger cannot be kept in {self._directory}: {error}.") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise ConfigurationError("Another agent is at work with this ledger.") from None
        finally:
            os.close(lock)

    def write(self, entry: Entry) -> None:
        """Make an entry durable; when this returns it outlives any crash of ours.

        Raises:
            LedgerFailed: When it could not be; the entry before it still stands.
        """
        text = json.dumps({"version": _VERSION, "boot_id": self._boot_id, **asdict(entry)}, indent=1)
        path = self._path(entry.uuid)
        temporary = path.with_suffix(".tmp")
        try:
            with temporary.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            self._sync_directory()
        except OSError as error:
            raise LedgerFailed(f"The ledger cannot be written: {error}.") from None

    def remove(self, uuid: str) -> None:
        """Forget a GPU, for good.

        Raises:
            LedgerFailed: When that did not work.
        """
        try:
            self._path(uuid).unlink(missing_ok=True)
            self._sync_directory()
        except OSError as error:
            raise LedgerFailed(f"The ledger cannot be written: {error}.") from None

    def read(self) -> dict[str, Entry]:
        """Give all entries by UUID; the caller holds the lock.

        Entries from before a reboot are removed: limits do not outlive one. What cannot be read is set aside, as
        nobody can tell what it says, and reported.
        """
        entries = {}
        for path, found in self._parsed():
            if isinstance(found, Exception):
                logger.error("the ledger's %s cannot be read (%r) and is set aside", path, found)
                path.rename(path.with_suffix(".unreadable"))
                continue
            entry, boot_id = found
            if boot_id != self._boot_id:
                logger.info("%s: the limit noted before the reboot is gone", entry.uuid)
                self.remove(entry.uuid)
                continue
            entries[entry.uuid] = entry
        return entries

    def peek(self) -> list[Entry]:
        """Give the entries and change nothing: for anybody, while an agent may be at work."""
        found = [one for _, one in self._parsed() if not isinstance(one, Exception)]
        return [entry for entry, boot_id in found if boot_id == self._boot_id]

    def _parsed(self) -> Iterator[tuple[Path, tuple[Entry, str] | Exception]]:
        for path in sorted(self._directory.glob("*.json")):
            try:
                yield path, _parse(path.read_text())
            except (OSError, ValueError, TypeError, KeyError) as error:
                yield path, error

    def unreadable(self) -> list[str]:
        """Give the names of the files that were set aside, until somebody has removed them."""
        return sorted(path.name for path in self._directory.glob("*.unreadable"))

    def has_entries(self) -> bool:
        """Whether there is anything to put back."""
        return any(self._directory.glob("*.json"))

    def _path(self, uuid: str) -> Path:
        if _UUID.fullmatch(uuid) is None:
            raise LedgerFailed(f"{uuid!r} does not look like the UUID of a GPU.")
        return self._directory / f"{uuid}.json"

    def _sync_directory(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_owner(directory: Path) -> None:
    """Refuse a directory that somebody else could write to: what is in it is done with root's rights."""
    status = directory.stat()
    if status.st_uid not in {0, os.geteuid()} or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigurationError(
            f"Others can write to the ledger's directory {directory}.", hint="Give it to root alone."
        )


def _parse(text: str) -> tuple[Entry, str]:
    document = json.loads(text)
    if document.pop("version") != _VERSION:
        raise ValueError("another version wrote it")
    boot_id = document.pop("boot_id")
    terms = document.pop("terms")
    owner = Owner(**terms.pop("owner"))
    ours = tuple(int(limit) for limit in document.pop("ours_milliwatts"))
    return Entry(ours_milliwatts=ours, terms=Terms(owner=owner, **terms), **document), boot_id
