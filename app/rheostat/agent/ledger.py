"""The write-ahead ledger: what must survive the agent, stored durably before it is needed.

Of every GPU whose limit was changed, the limit from before, in a file named by its UUID; of every lease its terms, in a
file named by its id. A file is created and replaced only by rename, so that a crash at any moment leaves either the old
one or the new one. No file: the GPU has no limit of the agent's, or the lease has ended.
"""

import fcntl
import json
import logging
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from rheostat.agent.records import FILE, NAME, Entry, LeaseRecord
from rheostat.errors import ConfigurationError, LedgerFailed

logger = logging.getLogger(__name__)

_VERSION = 1
_ENTRY, _LEASE, _PARTIAL, _UNREADABLE = ".json", ".lease", ".tmp", ".unreadable"
_MAX_FILE_BYTES = 64 * 1024
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class _Header(BaseModel):
    model_config = FILE

    version: Literal[1]
    boot_id: str


_Record = TypeVar("_Record", Entry, LeaseRecord)
_ENTRIES, _LEASES = TypeAdapter(Entry), TypeAdapter(LeaseRecord)


class Ledger:
    """The ledger of this node. Thread-safe.

    It remembers what it has written, so that `repair` can write it again after the directory was deleted.

    Attributes:
        directory: The directory of the files; created if missing.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._boot_id = _BOOT_ID.read_text().strip()
        self._mutex = threading.RLock()
        self._written: dict[str, str] = {}
        self._lock: int | None = None
        self._stuck: set[Path] = set()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock that only one agent per node can have.

        Raises:
            ConfigurationError: When another agent holds it, or the directory cannot be used.
        """
        try:
            self._acquire()
        except BlockingIOError:
            raise ConfigurationError(
                f"Another agent is running in {self.directory.parent}.",
                hint="`rheostat agent status` shows what it does. One agent serves all runs of a node; stop it first.",
            ) from None
        except OSError as error:
            raise ConfigurationError(
                f"The ledger directory {self.directory} cannot be used: {error.strerror}.",
                hint=("Run the agent as root, or with" if os.geteuid() else "Give another directory with")
                + " --runtime-dir or RHEOSTAT_AGENT_DIR.",
            ) from None
        try:
            yield
        finally:
            if self._lock is not None:
                os.close(self._lock)
            self._lock = None

    def _acquire(self) -> None:
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        _check_owner(self.directory)
        lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise
        self._lock = lock

    def _lost_lock(self) -> bool:
        """Return whether the file of the lock was deleted; another agent may then hold a new one."""
        if self._lock is None:
            return False
        try:
            found = (self.directory / "lock").stat(follow_symlinks=False)
        except OSError:
            return True
        return not os.path.samestat(found, os.fstat(self._lock))

    def is_intact(self) -> bool:
        """Return whether all that was written is still there."""
        with self._mutex:
            return not self._lost_lock() and all((self.directory / name).exists() for name in self._written)

    def repair(self) -> None:
        """Write again what was deleted.

        Raises:
            ConfigurationError: When another agent has started since.
            LedgerFailed: When it cannot be written.
        """
        with self._mutex:
            if (lost := self._lock) is not None and self._lost_lock():
                try:
                    self._acquire()
                except BlockingIOError:
                    raise ConfigurationError("Another agent has started with this ledger.") from None
                except OSError as error:
                    raise LedgerFailed(f"The ledger cannot be written: {error}.") from None
                os.close(lost)
            for name, text in self._written.items():
                if not (self.directory / name).exists():
                    self._store(name, text)

    def write(self, entry: Entry) -> None:
        """Store an entry durably.

        Raises:
            LedgerFailed: When that fails; the previous entry is unchanged.
        """
        self._put(_file_name(entry.uuid, _ENTRY), _ENTRIES.dump_python(entry, mode="json", exclude_none=True))

    def remove(self, uuid: str) -> None:
        """Remove the entry of a GPU, durably.

        Raises:
            LedgerFailed: When that fails.
        """
        self._drop(_file_name(uuid, _ENTRY))

    def write_lease(self, lease: LeaseRecord) -> None:
        """Store a lease durably.

        Raises:
            LedgerFailed: When that fails.
        """
        name = _file_name(lease.terms.lease_id, _LEASE)
        self._put(name, _LEASES.dump_python(lease, mode="json", exclude_none=True))

    def remove_lease(self, lease_id: str) -> None:
        """Remove a lease, durably.

        Raises:
            LedgerFailed: When that fails.
        """
        self._drop(_file_name(lease_id, _LEASE))

    def read(self) -> dict[str, Entry]:
        """Return all entries by UUID; the caller holds the lock.

        Entries from before a reboot are removed, because limits do not survive one. Unreadable files are set aside and
        reported.
        """
        entries = {}
        for path in self._paths(_ENTRY):
            try:
                entry, boot_id, text = _parse(path, _ENTRIES)
                if entry.uuid != path.stem:
                    raise ValueError(f"it is about GPU {entry.uuid}")
            except (OSError, ValueError) as error:
                logger.error("ledger file %s is unreadable (%s) and is set aside", path, error)
                self._set_aside(path)
                continue
            if boot_id != self._boot_id:
                logger.info("%s: removing the entry from before the reboot", entry.uuid)
                with suppress(LedgerFailed):
                    self.remove(entry.uuid)
                continue
            self._written[path.name] = text
            entries[entry.uuid] = entry
        return entries

    def read_leases(self) -> list[LeaseRecord]:
        """Return the leases in force; the caller holds the lock.

        Files that are unreadable, partly written or of a boot before are removed.
        """
        leases = []
        for path in self._paths(_PARTIAL):
            with suppress(OSError):
                path.unlink()
        for path in self._paths(_LEASE):
            try:
                lease, boot_id, text = _parse(path, _LEASES)
                if boot_id != self._boot_id or lease.terms.lease_id != path.stem:
                    raise ValueError("it is from before a reboot, or of another name")
            except (OSError, ValueError) as error:
                logger.warning("lease file %s is removed: %s", path, error)
                with suppress(OSError):
                    path.unlink()
                continue
            self._written[path.name] = text
            leases.append(lease)
        return leases

    def peek(self) -> list[Entry]:
        """Return the entries and change nothing; needs no lock."""
        entries = []
        for path in self._paths(_ENTRY):
            try:
                entry, boot_id, _ = _parse(path, _ENTRIES)
            except (OSError, ValueError):
                continue
            if boot_id == self._boot_id:
                entries.append(entry)
        return entries

    def problems(self) -> list[str]:
        """Return a sentence for each file that was set aside and not yet removed by an administrator."""
        set_aside = {path.name for path in self.directory.glob(f"*{_UNREADABLE}*")}
        names = sorted(set_aside | {path.name for path in self._stuck if path.exists()})
        return [
            f"The ledger file {name} is unreadable: check that GPU's power limit, then delete the file."
            for name in names
        ]

    def has_entries(self) -> bool:
        """Return whether there are any entries."""
        return bool(self._paths(_ENTRY))

    def has_leases(self) -> bool:
        """Return whether there are any leases."""
        return bool(self._paths(_LEASE))

    def _set_aside(self, path: Path) -> None:
        """Rename a file, for an administrator to look at; a name that is taken gets a number."""
        number, target = 1, path.with_suffix(_UNREADABLE)
        while target.exists():
            number, target = number + 1, path.with_suffix(f"{_UNREADABLE}-{number + 1}")
        try:
            path.rename(target)
        except OSError:
            self._stuck.add(path)

    def _paths(self, suffix: str) -> list[Path]:
        return sorted(self.directory.glob(f"*{suffix}"))

    def _put(self, name: str, record: dict[str, object]) -> None:
        text = json.dumps({"version": _VERSION, "boot_id": self._boot_id, **record}, indent=1)
        with self._mutex:
            if self._lost_lock():
                try:
                    self.repair()
                except ConfigurationError as error:
                    raise LedgerFailed(str(error)) from None
            self._store(name, text)
            self._written[name] = text

    def _store(self, name: str, text: str) -> None:
        path = self.directory / name
        temporary = path.with_suffix(_PARTIAL)
        try:
            with temporary.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            self._sync_directory()
        except OSError as error:
            raise LedgerFailed(f"The ledger cannot be written: {error}.") from None

    def _drop(self, name: str) -> None:
        with self._mutex:
            if not self._lost_lock():  # else what is there is not this agent's
                try:
                    (self.directory / name).unlink(missing_ok=True)
                    self._sync_directory()
                except OSError as error:
                    raise LedgerFailed(f"The ledger cannot be written: {error}.") from None
            self._written.pop(name, None)

    def _sync_directory(self) -> None:
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
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


def _file_name(stem: str, suffix: str) -> str:
    if NAME.fullmatch(stem) is None:
        raise LedgerFailed(f"{stem!r} is not the UUID of a GPU or the id of a lease.")
    return stem + suffix


def _parse(path: Path, record: TypeAdapter[_Record]) -> tuple[_Record, str, str]:
    """Return the record in a file, the boot that it is of, and its text.

    Raises:
        OSError: When it cannot be read.
        ValueError: When it is not such a record.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a file")
        content = os.read(descriptor, _MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > _MAX_FILE_BYTES:
        raise ValueError("it is too long")
    try:
        header = _Header.model_validate_json(content)
        return record.validate_json(content), header.boot_id, content.decode()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}") from None
