"""The GPUs that a process may use, found from the outside."""

from dataclasses import replace
from pathlib import Path

import pytest

from rheostat.agent import visible
from rheostat.agent.devices import GpuDescription
from rheostat.agent.visible import Visible, visible_to
from tests.agent.processes import CONTAINER_DEV, Processes, device_files

# The second and the third have each other's minor number, as on nodes whose bus is not numbered in order.
MINORS = {0: 0, 1: 2, 2: 1, 3: 3}
GPUS = [GpuDescription(f"GPU-{index}aaa", index, "V100", None, minor=MINORS[index]) for index in (2, 0, 3, 1)]
UUIDS = [f"GPU-{index}aaa" for index in range(4)]
HIDDEN = ("0::/somewhere/else",)
"""A control group that cannot be seen."""


@pytest.fixture(autouse=True)
def _readable_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visible, "_device_files", device_files)


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    return Processes(tmp_path, minors=[0, 1, 2, 3, 255])


def seen(processes: Processes, *, all_found: bool = True, **process: object) -> Visible:
    processes.add("7", **{"minors": [0, 1, 2, 3, 255], **process})  # type: ignore[arg-type]
    return visible_to(7, GPUS, all_found=all_found, proc=processes.proc)


def numbers(found: Visible) -> list[int] | None:
    return None if found.numbered is None else [UUIDS.index(uuid) for uuid in found.numbered]


def allowed(found: Visible) -> list[int]:
    return sorted(UUIDS.index(uuid) for uuid in found.allowed)


def test_a_process_on_the_node_itself_has_all_in_the_order_of_their_indices(processes: Processes) -> None:
    found = seen(processes)
    assert (numbers(found), allowed(found)) == ([0, 1, 2, 3], [0, 1, 2, 3])
    assert found.by == "nothing restricts the process"


def test_a_container_has_those_whose_device_files_it_has(processes: Processes) -> None:
    found = seen(processes, minors=[1, 3, 255], file_system=CONTAINER_DEV, groups=HIDDEN)
    assert (numbers(found), allowed(found)) == ([2, 3], [2, 3])


def test_a_device_file_that_is_hidden_in_the_nodes_dev_is_missed(processes: Processes) -> None:
    assert numbers(seen(processes, minors=[0, 1, 255])) == [0, 2]


def test_a_container_without_a_gpu_has_none(processes: Processes) -> None:
    found = seen(processes, minors=[], file_system=CONTAINER_DEV, NVIDIA_VISIBLE_DEVICES="all")
    assert (numbers(found), allowed(found)) == ([], [])


def test_the_rules_of_its_control_group_count_within_its_device_files(processes: Processes) -> None:
    processes.group("self", "devices/job", "c 195:2 rw\nc 195:3 rw\n")
    assert numbers(seen(processes, groups=("5:devices:/job",), SLURM_JOB_GPUS="0")) == [1, 3]


def test_where_a_container_differs_from_its_variables_the_kernel_is_right(processes: Processes) -> None:
    narrower = seen(processes, minors=[2], file_system=CONTAINER_DEV, NVIDIA_VISIBLE_DEVICES="GPU-0aaa")
    assert (numbers(narrower), allowed(narrower)) == ([1], [1])


def test_a_privileged_container_sees_all_but_may_lease_only_its_own(processes: Processes) -> None:
    found = seen(processes, file_system=CONTAINER_DEV, NVIDIA_VISIBLE_DEVICES="GPU-1aaa,2")
    assert (numbers(found), allowed(found)) == ([0, 1, 2, 3], [1, 2])


@pytest.mark.parametrize("text", ["all", "void", "none", "", "9", "GPU-", "MIG-1aaa"])
def test_a_variable_that_names_no_gpu_says_nothing(processes: Processes, text: str) -> None:
    assert numbers(seen(processes, NVIDIA_VISIBLE_DEVICES=text)) == [0, 1, 2, 3]


def test_where_nothing_can_be_opened_by_name_the_containers_variable_counts(tmp_path: Path) -> None:
    found = seen(Processes(tmp_path), minors=[], NVIDIA_VISIBLE_DEVICES="GPU-3aaa,1")
    assert (numbers(found), allowed(found)) == ([1, 3], [1, 3])


@pytest.mark.parametrize("groups", [HIDDEN, ("0::/",)])
@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("0,1", [2, 3]),  # ConstrainDevices: Slurm counts what the job can open
        ("1,3", [0, 1, 2, 3]),  # else it counts the node's
    ],
)
def test_a_slurm_job_has_its_gpus_by_their_minor_numbers(
    processes: Processes, groups: tuple[str, ...], shown: str, expected: list[int]
) -> None:
    found = seen(processes, groups=groups, SLURM_JOB_GPUS="1,3", CUDA_VISIBLE_DEVICES=shown)
    assert (numbers(found), allowed(found)) == (expected, [2, 3])


def test_a_slurm_step_may_have_fewer_than_its_job(processes: Processes) -> None:
    found = seen(processes, groups=HIDDEN, SLURM_JOB_GPUS="1,3", SLURM_STEP_GPUS="3", CUDA_VISIBLE_DEVICES="0")
    assert numbers(found) == [3]


def test_numbers_that_slurm_did_not_give_are_unknown_where_its_rules_are(processes: Processes) -> None:
    found = seen(processes, groups=HIDDEN, SLURM_JOB_GPUS="1,3", CUDA_VISIBLE_DEVICES="1")
    assert (numbers(found), allowed(found)) == (None, [2, 3])


def test_rules_that_cannot_be_read_leave_it_unknown(processes: Processes) -> None:
    found = seen(processes, groups=HIDDEN)
    assert (numbers(found), allowed(found)) == (None, [0, 1, 2, 3])
    assert "cannot be read" in found.by


def test_a_process_that_cannot_be_seen_is_unknown(processes: Processes) -> None:
    for pid, why in ((0, "PID namespace"), (8, "cannot look at process 8")):
        found = visible_to(pid, GPUS, all_found=True, proc=processes.proc)
        assert (numbers(found), allowed(found)) == (None, [0, 1, 2, 3])
        assert why in found.by


def test_numbers_do_not_count_while_a_gpu_is_missing(processes: Processes) -> None:
    found = seen(processes, all_found=False, minors=[1, 3], file_system=CONTAINER_DEV)
    assert (numbers(found), allowed(found)) == (None, [2, 3])


@pytest.mark.parametrize("minor", [None, 0])
def test_where_the_driver_tells_no_minor_numbers_they_are_the_indices(processes: Processes, minor: int | None) -> None:
    processes.add("7", minors=[1], file_system=CONTAINER_DEV)
    gpus = [replace(gpu, minor=minor) for gpu in GPUS]
    assert numbers(visible_to(7, gpus, all_found=True, proc=processes.proc)) == [1]


def test_numbers_do_not_count_where_a_container_has_gpus_that_the_agent_does_not_know(processes: Processes) -> None:
    found = seen(processes, minors=[1, 7, 255], file_system=CONTAINER_DEV)
    assert (numbers(found), allowed(found)) == (None, [2])
    more = seen(Processes(processes.proc.parent / "1"), minors=[*range(5), 255], file_system=CONTAINER_DEV)
    assert (numbers(more), allowed(more)) == (None, [0, 1, 2, 3])
    everything = seen(Processes(processes.proc.parent / "2", minors=[0, 1, 2, 3]), minors=[*range(5), 254, 255])
    assert numbers(everything) == [0, 1, 2, 3]
