import sys
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from rheostat.errors import ConfigurationError
from rheostat.sdk.own_gpus import own_gpus, slice_in_use
from tests.sdk.examples import node_gpu

GPUS = [node_gpu(2), node_gpu(0), node_gpu(1), node_gpu(3)]
ALL = (0, 1, 2, 3)


def indices(visible: Sequence[int] | None = ALL, **arguments: object) -> list[int]:
    """Return the node's numbers of the GPUs of a process that may use some of them."""
    arguments = {"environment": {}, **arguments}
    by_index = {gpu.index: gpu for gpu in GPUS}
    numbered = None if visible is None else [by_index[index] for index in visible]
    return [one.index for one in own_gpus(GPUS, numbered, **arguments)]  # type: ignore[arg-type]


def test_a_single_process_has_as_many_of_the_first_as_it_uses() -> None:
    assert indices() == [0]
    assert indices(count=2) == [0, 1]


def test_processes_of_one_run_have_one_each() -> None:
    assert [indices(local_rank=rank) for rank in range(4)] == [[0], [1], [2], [3]]
    assert indices(local_rank=7) == []


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("2,0", [2]), ("", []), ("-1", []), ("3,-1,0", [3]), ("GPU-1aaaaaaa", [1]), (" 1 , 2", [1])],
)
def test_only_gpus_that_cuda_shows_are_used(visible: str, expected: list[int]) -> None:
    assert indices(environment={"CUDA_VISIBLE_DEVICES": visible}) == expected


def test_a_launcher_may_show_each_process_its_own_gpu_only() -> None:
    assert indices(local_rank=3, environment={"CUDA_VISIBLE_DEVICES": "2"}) == [2]
    assert indices(local_rank=1, environment={"CUDA_VISIBLE_DEVICES": "2,0"}) == [0]


def test_names_come_first_from_the_call_then_from_the_environment() -> None:
    environment = {"RHEOSTAT_GPUS": "3, GPU-0aaaaaaa-0000", "CUDA_VISIBLE_DEVICES": "1"}
    assert indices(environment=environment) == [3, 0]
    assert indices(named=[2, "GPU-1aaaaaaa-0000"], environment=environment) == [2, 1]


@pytest.mark.parametrize("name", ["9", "GPU-", "GPU-9", "", "MIG-0aaaaaaa", "V100"])
def test_a_name_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(ConfigurationError, match="GPU"):
        indices(named=[name])


def test_the_device_that_pytorch_uses_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        current_device=lambda: 1,
        get_device_properties=lambda device: SimpleNamespace(uuid=f"{device + 1}aaaaaaa-0000"),
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert indices() == [2]
    assert indices(local_rank=0) == [2]
    cuda.is_initialized = lambda: False
    assert indices() == [0]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, [1]),
        ({"CUDA_VISIBLE_DEVICES": "0"}, [1]),
        ({"CUDA_VISIBLE_DEVICES": "1"}, [3]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-3aaaaaaa"}, [3]),
        ({"RHEOSTAT_GPUS": "1,0"}, [3, 1]),
    ],
)
def test_inside_a_container_numbers_count_its_own_gpus(environment: dict[str, str], expected: list[int]) -> None:
    assert indices(visible=(1, 3), environment=environment) == expected


def test_the_local_ranks_of_a_container_have_its_gpus() -> None:
    assert [indices(visible=(1, 3), local_rank=rank) for rank in (0, 1)] == [[1], [3]]


def test_a_container_without_a_gpu_has_none() -> None:
    assert indices(visible=()) == []
    with pytest.raises(ConfigurationError, match="GPU '0' is not on this node"):
        indices(visible=(), environment={"CUDA_VISIBLE_DEVICES": "0"})


@pytest.mark.parametrize("environment", [{}, {"CUDA_VISIBLE_DEVICES": "0"}])
def test_a_number_that_cannot_be_counted_is_refused_with_the_remedy(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="Which of the node's 4 GPUs") as caught:
        indices(visible=None, environment=environment)
    assert "RHEOSTAT_GPUS" in (caught.value.hint or "")


def test_what_is_named_needs_no_counting() -> None:
    assert indices(visible=None, environment={"RHEOSTAT_GPUS": "3,GPU-1aaaaaaa"}) == [3, 1]
    assert indices(visible=None, environment={"CUDA_VISIBLE_DEVICES": "GPU-2aaaaaaa"}) == [2]
    assert indices(visible=None, environment={"CUDA_VISIBLE_DEVICES": ""}) == []


def test_a_node_of_one_gpu_needs_no_counting() -> None:
    (only,) = own_gpus([node_gpu(0)], None, environment={})
    assert only.index == 0


@pytest.mark.parametrize("variable", ["CUDA_VISIBLE_DEVICES", "RHEOSTAT_GPUS"])
def test_a_slice_of_a_partitioned_gpu_is_recognised(variable: str) -> None:
    assert slice_in_use(environment={variable: "MIG-0aaaaaaa"}) == "MIG-0aaaaaaa"
    assert slice_in_use(environment={variable: "GPU-0aaaaaaa"}) is None
    assert slice_in_use(["MIG-1aaaaaaa"], {variable: "0"}) == "MIG-1aaaaaaa"
