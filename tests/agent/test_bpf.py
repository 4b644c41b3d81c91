"""Reading and running the programs that decide which devices may be opened."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rheostat.agent.bpf import NotUnderstoodError, allows, device_programs
from tests.agent.device_programs import allow_only, attach, instruction, version_2_root

LOAD_MINOR, LOAD_MAJOR, LOAD_ACCESS = (instruction(0x61, 2, 1, offset) for offset in (8, 4, 0))
EXIT = instruction(0x95)


def returning(value: int) -> bytes:
    return instruction(0xB7, 0, constant=value) + EXIT


def test_a_program_like_runcs_allows_what_it_lists() -> None:
    program = allow_only([1, 3])
    assert [minor for minor in range(5) if allows(program, 195, minor)] == [1, 3]
    assert not allows(program, 226, 1)


def test_the_access_that_is_asked_for_is_to_read_and_write_a_character_device() -> None:
    # The access type is 6 (read 2, write 4) above 16 bits of device type 2.
    same = LOAD_ACCESS + instruction(0x15, 2, offset=2, constant=6 << 16 | 2)
    assert allows(same + returning(0) + returning(1), 195, 0)


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (instruction(0x07, 2, constant=5), 12),  # r2 += 5
        (instruction(0x17, 2, constant=5), 2),
        (instruction(0x47, 2, constant=8), 15),
        (instruction(0x57, 2, constant=3), 3),
        (instruction(0x67, 2, constant=2), 28),
        (instruction(0x74, 2, constant=1), 3),
        (instruction(0xA7, 2, constant=1), 6),
        (instruction(0xB4, 2, constant=-1), 2**32 - 1),
        (instruction(0xBF, 3, 2) + instruction(0x0F, 2, 3), 14),  # r3 = r2; r2 += r3
    ],
)
def test_arithmetic_is_the_kernels(operation: bytes, expected: int) -> None:
    compare = instruction(0x16, 2, offset=2, constant=expected - 2**32 if expected >= 2**31 else expected)
    assert allows(LOAD_MINOR + operation + compare + returning(0) + returning(1), 195, 7)


@pytest.mark.parametrize(
    ("opcode", "constant", "jumps"),
    [(0x25, 6, True), (0x25, 7, False), (0x35, 7, True), (0x45, 8, False), (0xA5, 8, True), (0xB5, 6, False)],
)
def test_conditions_are_the_kernels(opcode: int, constant: int, jumps: bool) -> None:
    program = LOAD_MINOR + instruction(opcode, 2, offset=2, constant=constant) + returning(0) + returning(1)
    assert allows(program, 195, 7) is jumps


@pytest.mark.parametrize(
    "program",
    [
        b"",
        instruction(0x85, constant=1) + EXIT,  # a helper of the kernel
        instruction(0x61, 2, 1, 12) + EXIT,  # beyond the context
        instruction(0x61, 2, 10, -8) + EXIT,  # the stack
        instruction(0x79, 2, 1, 0) + EXIT,
        instruction(0x05, offset=-1),
        instruction(0x05, offset=9),
        instruction(0xB7, 0, constant=1),
    ],
)
def test_a_program_that_does_more_is_not_understood(program: bytes) -> None:
    with pytest.raises(NotUnderstoodError):
        allows(program, 195, 0)


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of the kernel's, with a group in it; both are removed."""
    root = version_2_root()
    outer = root / f"rheostat-test-{os.getpid()}"
    inner = outer / "inner"
    try:
        inner.mkdir(parents=True)
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error}")
    yield inner
    for directory in (inner, outer):
        with suppress(OSError):
            directory.rmdir()


def test_the_kernels_programs_are_read_with_those_of_the_groups_above(group: Path) -> None:
    assert device_programs(group) == []
    attach(group.parent, allow_only([0, 1]))
    attach(group, allow_only([1, 2]))
    programs = device_programs(group)
    assert [[minor for minor in range(4) if allows(one, 195, minor)] for one in programs] == [[1, 2], [0, 1]]


def test_what_is_no_control_group_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"."):
        device_programs(tmp_path)
