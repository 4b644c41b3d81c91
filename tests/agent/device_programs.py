"""Makes BPF programs for devices, and attaches them to control groups as a container engine does."""

import ctypes
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from rheostat.agent import bpf

_PROG_LOAD, _PROG_ATTACH, _TYPE_CGROUP_DEVICE, _CGROUP_DEVICE, _ALLOW_MULTIPLE = 5, 8, 15, 6, 2


def instruction(opcode: int, target: int = 0, source: int = 0, offset: int = 0, constant: int = 0) -> bytes:
    return struct.pack("<BBhi", opcode, target | source << 4, offset, constant)


def allow_only(minors: Sequence[int], *, others: bool = False) -> bytes:
    """Return a program as runc writes it: one block of comparisons for each GPU.

    Args:
        minors: The minor numbers of the GPUs that it allows.
        others: Whether it allows all devices that are no NVIDIA GPUs.
    """
    head = b"".join(
        (
            instruction(0x61, 2, 1, 0),  # r2 = access type; the device type is its lower half
            instruction(0x54, 2, constant=0xFFFF),
            instruction(0x61, 3, 1, 0),  # r3 = access
            instruction(0x74, 3, constant=16),
            instruction(0x61, 4, 1, 4),  # r4 = major
            instruction(0x61, 5, 1, 8),  # r5 = minor
        )
    )
    blocks = b"".join(
        b"".join(
            (
                instruction(0x55, 2, offset=7, constant=2),
                instruction(0xBC, 1, 3),
                instruction(0x54, 1, constant=6),
                instruction(0x5D, 1, 3, offset=4),
                instruction(0x55, 4, offset=3, constant=195),
                instruction(0x55, 5, offset=2, constant=minor),
                instruction(0xB4, 0, constant=1),
                instruction(0x95),
            )
        )
        for minor in minors
    )
    rest = instruction(0x15, 4, offset=2, constant=195) + instruction(0xB4, 0, constant=1) + instruction(0x95)
    return head + blocks + (rest if others else b"") + instruction(0xB4, 0, constant=0) + instruction(0x95)


def version_2_root() -> Path:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, _, source = line.partition(" - ")
        if source.startswith("cgroup2 "):
            return Path(place.split()[4])
    pytest.skip("there are no control groups of version 2 here")


def attach(group: Path, program: bytes) -> None:
    """Attach a program to a control group, besides those of the groups above; the test is skipped where none may."""
    code, license_name = ctypes.create_string_buffer(program, len(program)), ctypes.create_string_buffer(b"GPL")
    loaded = struct.pack(
        "IIQQ",
        _TYPE_CGROUP_DEVICE,
        len(program) // 8,
        ctypes.addressof(code),
        ctypes.addressof(license_name),
    )
    directory = os.open(group, os.O_RDONLY)
    try:
        descriptor, _ = bpf._bpf(_PROG_LOAD, loaded)
        bpf._bpf(_PROG_ATTACH, struct.pack("IIII", directory, descriptor, _CGROUP_DEVICE, _ALLOW_MULTIPLE))
        os.close(descriptor)
    except OSError as error:
        pytest.skip(f"BPF programs cannot be attached here: {error}")
    finally:
        os.close(directory)
