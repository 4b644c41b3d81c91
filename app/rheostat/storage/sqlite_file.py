"""The file of an embedded database: whether it is one, and whether another server serves it, too."""

import socket
from contextlib import suppress
from pathlib import Path

from rheostat.errors import ConfigurationError, DatabaseUnavailable

_MAGIC = b"SQLite format 3\0"
"""What each such file begins with (SQLite, "Database File Format", 1.3)."""


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
