"""The BPF programs that decide which devices the processes of a control group may open.

The kernel has no list of those devices, so the programs are read from it and run here. Those of systemd, runc and Slurm
compare the fields of `struct bpf_cgroup_dev_ctx` (linux/bpf.h) with constants; a program that does more is not
understood.
"""

import ctypes
import os
import struct
from collections.abc import Callable
from operator import and_, eq, ge, gt, le, lt, ne
from pathlib import Path

# linux/bpf.h
_PROG_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD, _PROG_QUERY = 13, 15, 16
_CGROUP_DEVICE = 6
_QUERY_EFFECTIVE = 1  # with those of the groups above it
_QUERY = struct.Struct("IIIIQI")
_INFO = struct.Struct("II8sIIQQ")
_INSTRUCTION = struct.Struct("<BBhi")
_CONTEXT = struct.Struct("<III")
_DEVICE_CHAR, _ACCESS_READ_WRITE = 2, 2 | 4

_SYSCALL_NUMBERS = {"x86_64": 321, "aarch64": 280, "ppc64le": 361}
_MAX_PROGRAMS, _MAX_PROGRAM_BYTES, _MAX_STEPS = 64, 1 << 20, 1 << 16
_CONTEXT_ADDRESS = 1 << 40
_LOAD_MODE, _EXIT, _JUMP = 0x60, 0x95, 0x05
_MASKS = {4: 2**32 - 1, 7: 2**64 - 1, 5: 2**64 - 1, 6: 2**32 - 1}  # of the instruction classes ALU, ALU64, JMP, JMP32

_OPERATIONS: dict[int, Callable[[int, int], int]] = {
    0x00: lambda left, right: left + right,
    0x10: lambda left, right: left - right,
    0x40: lambda left, right: left | right,
    0x50: and_,
    0x60: lambda left, right: left << (right & 63),
    0x70: lambda left, right: left >> (right & 63),
    0xA0: lambda left, right: left ^ right,
    0xB0: lambda _, right: right,
}
_CONDITIONS: dict[int, Callable[[int, int], object]] = {
    0x10: eq,
    0x20: gt,
    0x30: ge,
    0x40: and_,
    0x50: ne,
    0xA0: lt,
    0xB0: le,
}


class NotUnderstoodError(Exception):
    """A program does more than compare the fields of the device with constants."""


def device_programs(group: Path) -> list[bytes]:
    """Return the programs that apply to a control group, with those of the groups above it.

    Raises:
        OSError: The kernel does not tell: this process needs CAP_SYS_ADMIN.
    """
    descriptor = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
    try:
        ids = (ctypes.c_uint32 * _MAX_PROGRAMS)()
        query = _QUERY.pack(descriptor, _CGROUP_DEVICE, _QUERY_EFFECTIVE, 0, ctypes.addressof(ids), _MAX_PROGRAMS)
        count = _QUERY.unpack_from(_bpf(_PROG_QUERY, query)[1])[5]
    finally:
        os.close(descriptor)
    return [_instructions(one) for one in ids[:count]]


def _instructions(program_id: int) -> bytes:
    descriptor, _ = _bpf(_PROG_GET_FD_BY_ID, struct.pack("III", program_id, 0, 0))
    try:
        code = ctypes.create_string_buffer(_MAX_PROGRAM_BYTES)
        info = ctypes.create_string_buffer(
            _INFO.pack(0, 0, b"", 0, _MAX_PROGRAM_BYTES, 0, ctypes.addressof(code)), _INFO.size
        )
        _bpf(_OBJ_GET_INFO_BY_FD, struct.pack("IIQ", descriptor, _INFO.size, ctypes.addressof(info)))
        *_, size, _, readable = _INFO.unpack_from(info)
    finally:
        os.close(descriptor)
    return code.raw[:size] if readable else b""


def _bpf(command: int, attributes: bytes) -> tuple[int, bytes]:
    """Call bpf(2); return its result and the attributes as it left them."""
    number = _SYSCALL_NUMBERS.get(os.uname().machine)
    if number is None:
        raise OSError(f"bpf(2) has no known number on {os.uname().machine}")
    buffer = ctypes.create_string_buffer(attributes, 128)  # the kernel wants the rest to be zeros
    result = ctypes.CDLL(None, use_errno=True).syscall(number, command, buffer, len(buffer))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result, buffer.raw


def allows(program: bytes, major: int, minor: int) -> bool:
    """Return whether a program lets a character device be opened for reading and writing.

    Raises:
        NotUnderstoodError: When it does more than this module knows.
    """
    context = _CONTEXT.pack(_ACCESS_READ_WRITE << 16 | _DEVICE_CHAR, major, minor)
    registers = [0, _CONTEXT_ADDRESS, *[0] * 9]
    at = 0
    for _ in range(_MAX_STEPS):
        if not 0 <= at < len(program) // _INSTRUCTION.size:
            break
        opcode, pair, offset, constant = _INSTRUCTION.unpack_from(program, at * _INSTRUCTION.size)
        target, source = pair & 0xF, pair >> 4
        operand = registers[source] if opcode & 0x08 else constant
        at += 1
        match opcode & 0x07:
            case 1 if opcode & 0xE0 == _LOAD_MODE:
                start = registers[source] + offset - _CONTEXT_ADDRESS
                registers[target] = _loaded(context, start, {0x00: 4, 0x08: 2, 0x10: 1}.get(opcode & 0x18))
            case 4 | 7 as kind if (operation := _OPERATIONS.get(opcode & 0xF0)) is not None:
                mask = _MASKS[kind]
                registers[target] = operation(registers[target] & mask, operand & mask) & mask
            case 5 if opcode == _EXIT:
                return registers[0] & 1 == 1
            case 5 if opcode == _JUMP:
                at += offset
            case 5 | 6 as kind if (condition := _CONDITIONS.get(opcode & 0xF0)) is not None:
                if condition(registers[target] & _MASKS[kind], operand & _MASKS[kind]):
                    at += offset
            case _:
                raise NotUnderstoodError(f"opcode {opcode:#x}")
    raise NotUnderstoodError("it does not end")


def _loaded(context: bytes, start: int, size: int | None) -> int:
    if size is None or not 0 <= start <= len(context) - size:
        raise NotUnderstoodError("it reads other memory")
    return int.from_bytes(context[start : start + size], "little")
