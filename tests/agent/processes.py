"""A procfs made of files, with processes in containers and jobs."""

import json
from collections.abc import Iterable
from pathlib import Path

NODE_DEV, CONTAINER_DEV = 5, 99
"""File systems of /dev."""


class Processes:
    """A procfs; the agent and process 1 are in the root of all control groups."""

    def __init__(self, root: Path, minors: Iterable[int] = ()) -> None:
        self.proc = root / "proc"
        self.cgroups = root / "cgroup"
        for name in ("self", "1"):
            self.add(name, minors=minors)

    def add(
        self,
        name: str,
        minors: Iterable[int] = (),
        file_system: int = NODE_DEV,
        groups: tuple[str, ...] = ("0::/",),
        **environment: str,
    ) -> None:
        """Add a process, with the devices in its /dev and the lines of its control groups."""
        directory = self.proc / name
        (directory / "root/dev").mkdir(parents=True)
        (directory / "root/dev/files.json").write_text(json.dumps([file_system, sorted(minors)]))
        (directory / "environ").write_text("".join(f"{key}={value}\0" for key, value in environment.items()))
        (directory / "cgroup").write_text("\n".join(groups) + "\n")
        self.mount(name, "/", "/cg/devices", "cgroup", "rw,devices")
        self.mount(name, "/", "/cg/unified", "cgroup2", "rw")

    def mount(self, name: str, root: str, where: str, kind: str, options: str) -> None:
        with (self.proc / name / "mountinfo").open("a") as file:
            file.write(f"36 35 0:30 {root} {where} rw,relatime shared:1 - {kind} {kind} {options}\n")

    def group(self, viewer: str, path: str, rules: str | None = None) -> Path:
        """Make the directory of a control group, as a process sees it, with version 1's list of devices."""
        directory = self.proc / viewer / "root/cg" / path
        directory.mkdir(parents=True)
        if rules is not None:
            (directory / "devices.list").write_text(rules)
        return directory


def device_files(directory: Path) -> tuple[int, frozenset[int]]:
    """Stand in for the look at a real /dev, where only root can make devices."""
    file_system, minors = json.loads((directory / "files.json").read_text())
    return file_system, frozenset(minors)
