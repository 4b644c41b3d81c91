"""The reports that wait on this machine for a server, and the room for more."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rheostat.sdk.spool import MOST_BYTES, spool_directory, spool_use


@dataclass(frozen=True, slots=True)
class Spool:
    """The spool.

    Attributes:
        directory: Where reports wait.
        is_writable: Whether this user may write there.
        free_bytes: Room on its disk; None: unknown.
        waiting: Number of reports that wait, by the server's address.
        used_bytes: Their size.
        unreadable: Files that cannot be read.
    """

    directory: Path = Path(os.devnull)
    is_writable: bool = True
    free_bytes: int | None = None
    waiting: Mapping[str, int] = field(default_factory=dict)
    used_bytes: int = 0
    unreadable: tuple[Path, ...] = ()

    @property
    def is_full(self) -> bool:
        """Whether the next reports push out the oldest."""
        return self.used_bytes > 0.95 * MOST_BYTES


def look_at_spool() -> Spool:
    """Return the spool of this user."""
    directory = spool_directory()
    there = nearest(directory)
    use = spool_use(directory)
    return Spool(
        directory,
        is_writable=is_writable(there) and there.is_dir(),
        free_bytes=shutil.disk_usage(there).free,
        waiting=use.waiting,
        used_bytes=use.size_bytes,
        unreadable=tuple(use.unreadable),
    )


def nearest(path: Path) -> Path:
    """Return a path, or the nearest folder above it that exists."""
    there = path.absolute()
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    return there


def is_writable(path: Path) -> bool:
    """Return whether this user may write a file, or make files in a folder."""
    mode = os.W_OK | os.X_OK if path.is_dir() else os.W_OK
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
