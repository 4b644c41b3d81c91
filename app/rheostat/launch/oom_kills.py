"""How often the kernel ended a process because memory ran out: in our control group, else on the whole machine."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
_MACHINE = Path("/proc/vmstat")


class OomKills:
    """Counts from now on.

    Args:
        groups: Where the control groups are.
        own_groups: The file that names those of this process.
        machine: The file that counts for the whole machine.
    """

    def __init__(self, groups: Path = _GROUPS, own_groups: Path = _OWN_GROUPS, machine: Path = _MACHINE) -> None:
        self._before = {file: _count(file) for file in (*_own_files(groups, own_groups), machine)}
        self._machine = machine

    def of_our_group(self) -> bool:
        """Return whether a process of our control group was ended: of this command, as far as groups tell."""
        return self._grown(file for file in self._before if file != self._machine)

    def of_any(self) -> bool:
        """Return whether a process of the machine was ended; one of another control group is none of ours."""
        knows_ours = any(_count(file) is not None for file in self._before if file.name == "memory.events")
        return self.of_our_group() or (not knows_ours and self._grown([self._machine]))

    def _grown(self, files: Iterable[Path]) -> bool:
        return any((now := _count(file)) is not None and now > (self._before[file] or 0) for file in files)


def _own_files(groups: Path, own_groups: Path) -> Iterator[Path]:
    """Yield where the counts of our control group may be: version 2, which counts the groups below it, and 1.

    A container may see its own group as the root of the file system while its name is that of the host.
    """
    with suppress(OSError):
        for line in own_groups.read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            for path in dict.fromkeys((name.lstrip("/"), "")):
                if not controllers:
                    yield groups / path / "memory.events"
                elif "memory" in controllers.split(","):
                    yield groups / "memory" / path / "memory.oom_control"


def _count(file: Path) -> int | None:
    """Return the count in a file; None: it has none."""
    with suppress(OSError, ValueError):
        for line in file.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return None
