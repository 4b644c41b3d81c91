"""Which GPUs the process at the other end of the socket may use, and how it numbers them.

Numbers inside a container or a scheduler's job are not the node's. The devices that the process can open are told by
its /dev and by its control groups; where those show every GPU, or cannot be read, the variables that container engines
and Slurm set tell which ones were given to it.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rheostat.agent.device_cgroup import NVIDIA_MAJOR, openable
from rheostat.agent.devices import GpuDescription

# nvidia-modeset and nvidiactl.
_NO_GPUS = frozenset({254, 255})


@dataclass(frozen=True, slots=True)
class Visible:
    """What is known of the GPUs that a process may use.

    Attributes:
        numbered: UUIDs in the order in which CUDA numbers them for the process, before ``CUDA_VISIBLE_DEVICES``; None:
            unknown.
        allowed: UUIDs of the GPUs that may be the process's: all but those that are known not to be.
        by: How that was found.
    """

    numbered: tuple[str, ...] | None
    allowed: frozenset[str]
    by: str


def visible_to(pid: int, gpus: Sequence[GpuDescription], *, all_found: bool, proc: Path = Path("/proc")) -> Visible:
    """Return which of the node's GPUs a process may use.

    Args:
        pid: The process, in the agent's PID namespace; 0: it has no id there.
        gpus: The GPUs that the agent has found.
        all_found: Whether those are all; a GPU that is missing would be counted by the process.
        proc: Where procfs is mounted.
    """
    node = _Node(gpus)
    if pid == 0:
        return Visible(None, node.uuids, "the agent runs in another PID namespace, and cannot see the process")
    try:
        process = _Process(proc, pid)
        found = _found(process, node)
    except OSError as error:
        return Visible(None, node.uuids, f"the agent cannot look at process {pid}: {error.strerror}")
    if all_found and not (process.has_own_dev and process.in_dev - node.by_minor.keys()):
        return found
    return Visible(None, found.allowed, "there are GPUs that the agent cannot open, so that numbers do not count")


class _Node:
    """The GPUs of the node by their numbers, and in the order of their indices, as CUDA orders equal GPUs."""

    def __init__(self, gpus: Sequence[GpuDescription]) -> None:
        by_index = sorted(gpus, key=lambda gpu: gpu.index)
        self.ordered = tuple(gpu.uuid for gpu in by_index)
        self.uuids = frozenset(self.ordered)
        self.by_index = {gpu.index: gpu.uuid for gpu in by_index}
        self.by_minor = {gpu.minor: gpu.uuid for gpu in by_index if gpu.minor is not None}
        if len(self.by_minor) < len(by_index):
            self.by_minor = self.by_index  # a driver that does not tell numbers both alike

    def of(self, uuids: frozenset[str]) -> tuple[str, ...]:
        return tuple(uuid for uuid in self.ordered if uuid in uuids)


class _Process:
    """What the kernel shows of a process.

    Attributes:
        environment: The variables that it was started with.
        in_dev: The minor numbers of the GPUs in its /dev.
        has_own_dev: Whether those tell what it holds: its /dev is not as the node's.
    """

    def __init__(self, proc: Path, pid: int) -> None:
        self._proc = proc
        self._pid = pid
        content = (proc / str(pid) / "environ").read_bytes().decode(errors="replace")
        self.environment = dict(entry.split("=", 1) for entry in content.split("\0") if "=" in entry)
        file_system, files = _device_files(proc / str(pid) / "root/dev")
        nodes = {}
        for viewer in ("1", "self"):
            with suppress(OSError):
                other, there = _device_files(proc / viewer / "root/dev")
                nodes[other] = there
        self.in_dev = files - _NO_GPUS
        self.has_own_dev = file_system not in nodes or files < nodes[file_system]

    def openable(self, minors: Sequence[int]) -> frozenset[int] | None:
        return openable(self._proc, self._pid, minors)


def _device_files(directory: Path) -> tuple[int, frozenset[int]]:
    """Return a directory's file system, and the minor numbers of the NVIDIA devices in it, whatever their names."""
    with os.scandir(directory) as entries:
        found = [entry.stat(follow_symlinks=False) for entry in entries]
    devices = [one.st_rdev for one in found if stat.S_ISCHR(one.st_mode)]
    return directory.stat().st_dev, frozenset(os.minor(one) for one in devices if os.major(one) == NVIDIA_MAJOR)


def _found(process: _Process, node: _Node) -> Visible:
    minors = list(node.by_minor)
    by_group = process.openable(minors)
    can_open = by_group
    if process.has_own_dev:
        can_open = process.in_dev & (node.by_minor.keys() if by_group is None else by_group)
    if can_open is not None and len(can_open) < len(minors):
        uuids = frozenset(node.by_minor[minor] for minor in can_open)
        what = "/dev and control group" if process.has_own_dev else "control group"
        return Visible(node.of(uuids), uuids, f"the {what} of the process")
    is_open = can_open is not None
    if (named := _slurms(process.environment, node)) is not None:
        return _in_slurm(named, process.environment, node, is_open=is_open)
    if (named := _containers(process.environment, node)) is not None:
        # A privileged container has all GPUs in its /dev, and CUDA numbers them all.
        numbered = node.ordered if is_open and process.in_dev else node.of(named)
        return Visible(numbered, named, "NVIDIA_VISIBLE_DEVICES")
    if is_open:
        return Visible(node.ordered, node.uuids, "nothing restricts the process")
    return Visible(None, node.uuids, "the rules for devices of the control group cannot be read")


def _slurms(environment: Mapping[str, str], node: _Node) -> frozenset[str] | None:
    """Return the GPUs of a Slurm step or job, which are named by the numbers of their device files."""
    text = environment.get("SLURM_STEP_GPUS") or environment.get("SLURM_JOB_GPUS")
    return None if text is None else _named(text, node.by_minor, node)


def _containers(environment: Mapping[str, str], node: _Node) -> frozenset[str] | None:
    """Return the GPUs that a container was given; None when the variable names none, as `all` and `void`."""
    text = environment.get("NVIDIA_VISIBLE_DEVICES")
    return None if text is None else _named(text, node.by_index, node)


def _named(text: str, numbers: Mapping[int, str], node: _Node) -> frozenset[str] | None:
    """Return the GPUs of a list of numbers and UUIDs; None when an entry is neither."""
    found = set()
    for name in (name.strip() for name in text.split(",")):
        begun = [uuid for uuid in node.ordered if name.startswith("GPU-") and uuid.startswith(name)]
        uuid = numbers.get(int(name)) if name.isdecimal() else begun[0] if len(begun) == 1 else None
        if uuid is None:
            return None
        found.add(uuid)
    return frozenset(found)


def _in_slurm(held: frozenset[str], environment: Mapping[str, str], node: _Node, *, is_open: bool) -> Visible:
    """Return the GPUs of a process in a Slurm job.

    With ConstrainDevices Slurm numbers them from 0 in ``CUDA_VISIBLE_DEVICES``, else by the node's numbers; the rules
    of its control groups cannot always be read.
    """
    minors = sorted(minor for minor, uuid in node.by_minor.items() if uuid in held)
    shown = environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
    numbered = node.ordered if is_open else None
    if shown == [str(minor) for minor in minors]:
        numbered = node.ordered
    elif shown == [str(number) for number in range(len(minors))]:
        numbered = node.of(held)
    return Visible(numbered, held, "Slurm's variables for the job's GPUs")
