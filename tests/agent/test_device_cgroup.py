"""The devices that control groups allow."""

from pathlib import Path

import pytest

from rheostat.agent import device_cgroup
from rheostat.agent.device_cgroup import openable
from tests.agent.device_programs import allow_only, instruction
from tests.agent.processes import Processes

GPUS = (0, 1, 2)


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    return Processes(tmp_path)


def of(processes: Processes, *groups: str) -> set[int] | None:
    processes.add("7", groups=groups)
    found = openable(processes.proc, 7, GPUS)
    return None if found is None else set(found)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("c 195:1 rw\nc 195:255 rw\nc 1:3 rwm\n", {1}),
        ("c 195:* rwm\n", {0, 1, 2}),
        ("c *:* rw\n", {0, 1, 2}),
        ("c *:* m\nb *:* m\nc 195:2 rwm\n", {2}),
        ("c 195:0 r\nb 195:1 rw\n", set()),
        ("", set()),
    ],
)
def test_version_1_lists_what_a_container_may_open(processes: Processes, rules: str, expected: set[int]) -> None:
    processes.group("self", "devices/docker/f00d", rules)
    assert of(processes, "5:devices:/docker/f00d") == expected


@pytest.mark.parametrize(
    ("group", "expected"),
    [("", set(GPUS)), ("user.slice/u", set(GPUS)), ("kubepods/p", set(GPUS)), ("slurm/uid_1/job_2", None)],
)
def test_a_group_of_version_1_that_allows_all_may_deny_some_where_a_scheduler_made_it(
    processes: Processes, group: str, expected: set[int] | None
) -> None:
    processes.group("self", f"devices/{group}", "a *:* rwm\n")
    assert of(processes, f"5:devices,misc:/{group}") == expected


def test_a_process_in_the_agents_own_groups_can_open_what_the_agent_can(processes: Processes) -> None:
    assert of(processes, "0::/", "3:memory:/elsewhere") == set(GPUS)


def test_a_group_that_the_agent_cannot_see_is_unknown(processes: Processes) -> None:
    assert of(processes, "0::/../gone") is None


def test_a_group_is_found_through_process_1_when_the_agent_is_in_a_container(processes: Processes) -> None:
    # Seen from the agent's group, which is /pods/agent, the root of all is two above.
    processes.mount("1", "/../..", "/cg/whole", "cgroup", "rw,devices")
    processes.group("1", "whole/pods/trainer", "c 195:2 rw\n")
    assert of(processes, "5:devices:/../../pods/trainer") == {2}


def test_all_programs_of_version_2_must_allow_a_device(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    group = processes.group("self", "unified/job")
    asked = []

    def programs(directory: Path) -> list[bytes]:
        asked.append(directory)
        return [allow_only([0, 1]), allow_only([1, 2])]

    monkeypatch.setattr(device_cgroup, "device_programs", programs)
    assert of(processes, "0::/job") == {1}
    assert asked == [group]


@pytest.mark.parametrize("trouble", [PermissionError(), None])
def test_programs_that_cannot_be_read_or_understood_are_unknown(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, trouble: OSError | None
) -> None:
    processes.group("self", "unified/job")

    def programs(_: Path) -> list[bytes]:
        if trouble is not None:
            raise trouble
        return [instruction(0x85, constant=1)]

    monkeypatch.setattr(device_cgroup, "device_programs", programs)
    assert of(processes, "0::/job") is None
