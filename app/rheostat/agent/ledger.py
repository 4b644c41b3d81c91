"""The write-ahead ledger: every GPU's limit from before the agent changed it, stored durably before it does.

One small file per GPU, named by its UUID, in the runtime directory. A file is created and replaced only by rename, so
that a crash at any moment leaves either the old entry or the new one. No file: the GPU has no limit of the agent's.
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

from rheostat.agent.states import LimitOrigin, limit_origin
from rheostat.errors import ConfigurationError, LedgerFailed

logger = logging.getLogger(__name__)

_VERSION = 1
_UUID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,95}")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that owns a lease.

    Attributes:
        pid: Its process id.
        start_ticks: When it started, in clock ticks since boot; distinguishes it from a later process of the same id.
        uid: Its user id.
    """

    pid: int
    start_ticks: int
    uid: int


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of a lease.

    Attributes:
        lease_id: The id of the lease.
        owner: The process that owns it.
        ttl_seconds: It expires when it is not renewed for this long.
        job_id: The job that the owner trains, if known.
        trial_id: The trial of that job, if known.
    """

    lease_id: str
    owner: Owner
    ttl_seconds: float
    job_id: str | None = None
    trial_id: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What must be restored on a GPU.

    Attributes:
        uuid: The GPU.
        found_milliwatts: The limit found before the agent's first change.
        ours_milliwatts: The limits that the agent may have set: the current one and the one it is about to set.
        terms: The lease that the limits were set for.
        pending_milliwatts: The one of them that was not read back yet, so that the driver's rounding is not known.
    """

    uuid: str
    found_milliwatts: int
    ours_milliwatts: tuple[int, ...]
    terms: Terms
    pending_milliwatts: int | None = None

    def origin_of(self, current_milliwatts: int) -> LimitOrigin:
        """Return who set the GPU's current limit."""
        return limit_origin(current_milliwatts, self.found_milliwatts, self.ours_milliwatts, self.pending_milliwatts)


class Ledger:
    """The entries of this node.

    Args:
        directory: The directory of the entries; created if missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._boot_id = _BOOT_ID.read_text().strip()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that only one agent per node can have.

        Raises:
            ConfigurationError: When another agent holds it, or the directory cannot be used.
        """
        try:
            self._directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            _check_owner(self._directory)
            lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(f"The ledger directory {self._directory} cannot be used: {error}.") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise ConfigurationError("Another agent is running with this ledger.") from None
        finally:
            os.close(lock)

    def write(self, entry: Entry) -> None:
        """Store an entry durably.

        Raises:
            LedgerFailed: When that fails; the previous entry is unchanged.
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
        """Remove the entry of a GPU, durably.

        Raises:
            LedgerFailed: When that fails.
        """
        try:
            self._path(uuid).unlink(missing_ok=True)
            self._sync_directory()
        except OSError as error:
            raise LedgerFailed(f"The ledger cannot be written: {error}.") from None

    def read(self) -> dict[str, Entry]:
        """Return all entries by UUID; the caller holds the lock.

        Entries from before a reboot are removed, because limits do not survive one. Unreadable files are set aside and
        reported.
        """
        entries = {}
        for path, found in self._parsed():
            if isinstance(found, Exception):
                logger.error("ledger file %s is unreadable (%r) and is set aside", path, found)
                path.rename(path.with_suffix(".unreadable"))
                continue
            entry, boot_id = found
            if boot_id != self._boot_id:
                logger.info("%s: removing the entry from before the reboot", entry.uuid)
                self.remove(entry.uuid)
                continue
            entries[entry.uuid] = entry
        return entries

    def peek(self) -> list[Entry]:
        """Return the entries and change nothing; needs no lock."""
        found = [one for _, one in self._parsed() if not isinstance(one, Exception)]
        return [entry for entry, boot_id in found if boot_id == self._boot_id]

    def _parsed(self) -> Iterator[tuple[Path, tuple[Entry, str] | Exception]]:
        for path in sorted(self._directory.glob("*.json")):
            try:
                yield path, _parse(path.read_text())
            except (OSError, ValueError, TypeError, KeyError) as error:
                yield path, error

    def unreadable(self) -> list[str]:
        """Return the names of the files that were set aside and not yet removed by an administrator."""
        return sorted(path.name for path in self._directory.glob("*.unreadable"))

    def has_entries(self) -> bool:
        """Return whether there are any entries."""
        return any(self._directory.glob("*.json"))

    def _path(self, uuid: str) -> Path:
        if _UUID.fullmatch(uuid) is None:
            raise LedgerFailed(f"{uuid!r} is not the UUID of a GPU.")
        return self._directory / f"{uuid}.json"

    def _sync_directory(self) -> None:
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _check_owner(directory: Path) -> None:
    """Refuse a directory that another user could write to: root acts on its contents."""
    status = directory.stat()
    if status.st_uid not in {0, os.geteuid()} or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigurationError(
            f"The ledger directory {directory} is writable by other users.",
            hint=f"Run: chown root {directory}; chmod go-w {directory}",
        )


def _parse(text: str) -> tuple[Entry, str]:
    document = json.loads(text)
    if document.pop("version") != _VERSION:
        raise ValueError("written by another version")
    boot_id = document.pop("boot_id")
    terms = document.pop("terms")
    owner = Owner(**terms.pop("owner"))
    ours = tuple(int(limit) for limit in document.pop("ours_milliwatts"))
    return Entry(ours_milliwatts=ours, terms=Terms(owner=owner, **terms), **document), boot_id
