"""The file of the embedded database: where and what it may be, who may read it, and who else serves it."""

import re
import shutil
import socket
import sqlite3
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from sqlalchemy.engine import URL

from rheostat.errors import ConfigurationError, DatabaseUnavailable

NETWORK_FILE_SYSTEMS = frozenset(
    [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.sshfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    ]
)
"""File systems, by their names in /proc/mounts, on which SQLite's locks or shared memory are unreliable."""


LEAST_FREE_BYTES = 10_000_000
"""Room for the log of writes, which grows to some 4 MB between two checkpoints."""


_MAGIC = b"SQLite format 3\0"
"""What each such file begins with (SQLite, "Database File Format", 1.3)."""


class SqliteFile:
    """The file behind a database's connections, which must stay where it is.

    A connection goes on writing a file that was moved away or replaced: what it acknowledges is gone for whoever opens
    the path. So every transaction asks first whether the path still leads to the file that was opened.

    Args:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: tuple[int, int] | None = None

    def note_opened(self) -> None:
        """Remember which file the path leads to; only the first call does."""
        self._opened = self._opened or self._found()

    def forget(self) -> None:
        """Forget which file was opened, once no connection is left that writes it."""
        self._opened = None

    def check(self) -> None:
        """Check that the path leads to the file that was opened, or that none was.

        Raises:
            DatabaseUnavailable: It leads to another file, or to none.
        """
        if self._opened is None or self._found() == self._opened:
            return
        raise DatabaseUnavailable(
            f"The database file {self.path} was moved away or replaced while in use; nothing is written any more.",
            hint="Move the file back, or restart the server to use the one that is there now.",
        )

    def require_space(self) -> None:
        """Check that the disk has room for the next writes.

        Raises:
            DatabaseUnavailable: It has not.
        """
        free = shutil.disk_usage(self.path.parent).free
        if free < LEAST_FREE_BYTES:
            raise DatabaseUnavailable(
                f"The disk of {self.path} is full: {free / 1e6:.1f} MB left of {LEAST_FREE_BYTES / 1e6:.0f} needed.",
                hint="Make room on it; what was acknowledged is kept.",
            )

    def make_private(self) -> None:
        """Create the file, and its folder, for this user alone; take an older one away from other users.

        A group that an operator let in stays. SQLite gives its log and shared memory the mode of the file.

        Raises:
            OSError: The folder or the file cannot be created.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.touch(mode=0o600)
        for path in (self.path, *(self.path.with_name(f"{self.path.name}{suffix}") for suffix in ("-wal", "-shm"))):
            with suppress(OSError):  # it is another user's, or not there
                path.chmod(path.stat().st_mode & 0o770)

    def _found(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def require_database(path: Path) -> None:
    """Refuse a file that is something else; one that is missing or empty becomes a database.

    Raises:
        ConfigurationError: It is no database.
        DatabaseUnavailable: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            found = file.read(len(_MAGIC))
    except FileNotFoundError:
        return
    except IsADirectoryError:
        found = b"a directory"
    except OSError as error:
        raise DatabaseUnavailable(f"The database {path} cannot be read: {error.strerror}.") from error
    if found and found != _MAGIC:
        raise ConfigurationError(
            f"{path} is not an SQLite database.", hint="Move it away, or name another file in RHEOSTAT_DATABASE_URL."
        )


DAMAGED = "database disk image is malformed"
"""As SQLite says it (SQLITE_CORRUPT)."""


def is_damaged(error: BaseException | None) -> bool:
    """Return whether an error of SQLite says that the file is damaged."""
    return DAMAGED in str(error) or "file is not a database" in str(error)


def require_unused(path: Path) -> None:
    """Refuse a database that another process has open, and leave its write-ahead log.

    SQLite itself finds out: it leaves the log only for the last connection.

    Raises:
        ConfigurationError: Another process has it open.
        sqlite3.OperationalError: It cannot be opened.
    """
    connection = sqlite3.connect(path, timeout=0.0)
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):
            raise in_use(str(path)) from error
        if not is_damaged(error):
            raise
    finally:
        connection.close()


def in_use(place: str) -> ConfigurationError:
    """Return the error for a database that other processes use."""
    return ConfigurationError(
        f"{place} is in use: a server or another command has it open.",
        hint="Stop it first: what it writes meanwhile would be lost.",
    )


def use_write_ahead_log(connection: sqlite3.Connection, within_seconds: float) -> None:
    """Switch a file to a write-ahead log, where it has none yet.

    SQLite itself waits for no lock here, since two processes that switch a new file at once would wait for each other.

    Raises:
        sqlite3.OperationalError: The file cannot be written, or other processes hold its lock for longer.
    """
    give_up_at = monotonic() + within_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() > give_up_at:
                raise
            sleep(0.01)
        else:
            return


def check_path(url: URL) -> None:
    """Check that a URL names a file on a local disk.

    Raises:
        ConfigurationError: It does not.
    """
    if not url.database or url.database == ":memory:" or url.query:
        raise ConfigurationError(
            "The SQLite URL must name a file, without options; an in-memory database would not survive a restart.",
            hint="Write sqlite:////path/to/rheostat.db.",
        )
    file_system = _file_system_of(Path(url.database).absolute())
    if file_system in NETWORK_FILE_SYSTEMS:
        raise ConfigurationError(
            f"{url.database} is on a network file system ({file_system}), where SQLite's locks are unreliable.",
            hint="Use a local disk, or PostgreSQL.",
        )


def _file_system_of(path: Path) -> str | None:
    """Return the type of the file system that a path is on, or None if /proc/self/mounts cannot be read."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    best, kind = -1, None
    for line in mounts.splitlines():
        _, mount_point, file_system, *_ = line.split(" ")
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mount_point))
        if path.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), file_system
    return kind


class Serving:
    """Tells other servers of this machine that this one serves a file, until the process ends.

    A name of an abstract socket needs no file, and none is left by a crash. It is the file's identity, which several
    paths may lead to.

    Attributes:
        is_first: Whether no other server has said so before. None: that is unknown, as where there are no such names.
    """

    def __init__(self, path: Path) -> None:
        self.is_first: bool | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with suppress(OSError):
            found = path.stat()
            try:
                self._socket.bind(f"\0rheostat-serves-{found.st_dev}-{found.st_ino}")
                self.is_first = True
            except OSError:
                self.is_first = False

    def close(self) -> None:
        """Serve it no more."""
        self._socket.close()
