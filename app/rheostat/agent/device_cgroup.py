"""Which GPUs the control groups of a process let it open."""

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from rheostat.agent.bpf import NotUnderstoodError, allows, device_programs

NVIDIA_MAJOR = 195
"""The major number of the device files of all NVIDIA GPUs (Linux: Documentation/admin-guide/devices.txt)."""

# In version 1, a group that allows all devices but some reads "a *:* rwm", as one that allows all. Schedulers make such
# groups (Slurm's are /slurm/..., LSF's /lsf/...), systemd and container engines do not.
_NOTHING_DENIED_IN = {
    "docker",
    "init.scope",
    "kubepods",
    "kubepods.slice",
    "libpod_parent",
    "machine.slice",
    "system.slice",
    "user.slice",
}


def openable(proc: Path, pid: int, minors: Collection[int]) -> frozenset[int] | None:
    """Return which GPUs, by minor number, the control groups of a process let it open; None: that is unknown.

    Args:
        proc: Where procfs is mounted.
        pid: The process.
        minors: The minor numbers of the GPUs.

    Raises:
        OSError: When the process cannot be looked at.
    """
    found = frozenset(minors)
    # In the agent's own groups a process can open what the agent can.
    same = (proc / "self/cgroup").read_text().splitlines()
    for line in (proc / str(pid) / "cgroup").read_text().splitlines():
        number, controllers, group = line.split(":", 2)
        if line in same:
            continue
        if number == "0":
            allowed = _by_programs(_directory(proc, "cgroup2", "", group), found)
        elif "devices" in controllers.split(","):
            allowed = _by_list(_directory(proc, "cgroup", "devices", group), found)
        else:
            continue
        if allowed is None:
            return None
        found &= allowed
    return found


def _directory(proc: Path, kind: str, controller: str, group: str) -> tuple[Path, PurePosixPath] | None:
    """Return the directory of a control group, and its path below the root of its mount."""
    # Process 1 sees all groups of the node, where the agent is in a container that sees only its own.
    for viewer in (proc / "self", proc / "1"):
        try:
            mounts = (viewer / "mountinfo").read_text().splitlines()
        except OSError:
            continue
        for mount in mounts:
            # proc_pid_mountinfo(5): the fourth field is the root of the mount, the fifth where it is.
            place, _, source = mount.partition(" - ")
            root, where = place.split()[3:5]
            of, _, options = source.split()[:3]
            if of != kind or (controller and controller not in options.split(",")):
                continue
            if not PurePosixPath(group).is_relative_to(root):
                continue
            below = PurePosixPath(group).relative_to(root)
            directory = viewer / "root" / where.lstrip("/") / below
            if ".." not in below.parts and directory.is_dir():
                return directory, below
    return None


def _by_list(place: tuple[Path, PurePosixPath] | None, minors: Collection[int]) -> frozenset[int] | None:
    """Return what version 1 allows, by the list of a group."""
    if place is None:
        return None
    directory, below = place
    rules = [line.split() for line in (directory / "devices.list").read_text().splitlines()]
    if any(rule[0] == "a" for rule in rules):
        return frozenset(minors) if not below.parts or below.parts[0] in _NOTHING_DENIED_IN else None
    return frozenset(
        minor
        for minor in minors
        for kind, device, access in rules
        if kind == "c" and device in _spellings(minor) and {"r", "w"} <= set(access)
    )


def _spellings(minor: int) -> set[str]:
    return {f"{major}:{end}" for major in (NVIDIA_MAJOR, "*") for end in (minor, "*")}


def _by_programs(place: tuple[Path, PurePosixPath] | None, minors: Collection[int]) -> frozenset[int] | None:
    """Return what version 2 allows, by the BPF programs of a group."""
    if place is None:
        return None
    try:
        programs = device_programs(place[0])
        return frozenset(minor for minor in minors if all(allows(program, NVIDIA_MAJOR, minor) for program in programs))
    except (OSError, NotUnderstoodError):
        return None
