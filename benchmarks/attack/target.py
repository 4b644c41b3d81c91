"""The server that is attacked, and what an attack found."""

import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.attack.bystander import Seen
from benchmarks.server.servers import Server, rheostat

_LOG = "server.log"

_FILES = 1024
"""What systemd and most shells let a process open."""

_RESET_PEAK = "5"  # man 5 proc_pid_clear_refs


class Verdict(NamedTuple):
    """What an attack saw itself, in words with its figures, and whether that is within its bounds."""

    words: str
    held: bool


@dataclass(frozen=True, slots=True)
class Target:
    """A server that listens, and its database."""

    server: Server
    database_url: str
    folder: Path

    @property
    def port(self) -> int:
        """Where it listens on loopback."""
        return self.server.port

    @property
    def log(self) -> Path:
        """What the server logs."""
        return self.folder / _LOG

    def reset_peak(self) -> None:
        """Count the peak of its memory from now on."""
        for pid in self.server.pids:
            Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)

    def peak_megabytes(self) -> float:
        """Return the peak of the resident memory of its largest process."""
        peaks = [re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in self.server.pids]
        return max(int(peak[1]) for peak in peaks if peak) / 1024


@dataclass(frozen=True, slots=True)
class Attack:
    """An attack and its bounds.

    Attributes:
        name: What the table calls it.
        run: Runs it.
        most_megabytes: How much memory the server may take for it.
        most_milliseconds: How much longer than before an innocent request may wait.
    """

    name: str
    run: Callable[[Target], Verdict]
    most_megabytes: float = 64.0
    most_milliseconds: float = 100.0


@contextmanager
def serving(database_url: str, folder: Path, workers: int = 1) -> Iterator[Target]:
    """Serve a database for the length of a block, by a server that may open as many files as is usual."""
    ours, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, most))
    try:
        with rheostat(database_url, folder / _LOG, workers) as server:
            resource.setrlimit(resource.RLIMIT_NOFILE, (ours, most))
            yield Target(server, database_url, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ours, most))


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: an attack, what it saw, what the innocent client saw then and before, and the memory."""

    attack: Attack
    verdict: Verdict
    seen: Seen
    quiet: Seen
    megabytes: float
    seconds: float

    @property
    def quiet_milliseconds(self) -> float:
        """The longest that the innocent client waited before the attack."""
        return max(self.quiet.requests.percentile(1), self.quiet.probes.percentile(1))

    @property
    def kept(self) -> bool:
        """Whether all bounds hold; no innocent request failed, or waited for much longer than before."""
        most = self.quiet_milliseconds + self.attack.most_milliseconds
        return (
            self.verdict.held
            and self.megabytes <= self.attack.most_megabytes
            and all(not one.failures and one.percentile(1) <= most for one in (self.seen.requests, self.seen.probes))
        )
