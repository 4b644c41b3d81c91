"""The GPUs of trainers in containers and jobs: the real agent, the real kernel, the fake NVML."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.agents import Agent, as_privileged
from tests.nvml.fake import FakeNvml
from tests.sdk.containers import PRIVATE_DEV, gpu_1_group, may_make_containers, train

pytestmark = as_privileged


@pytest.fixture
def agent(fake: FakeNvml, tmp_path: Path) -> Iterator[Agent]:
    with Agent(fake, tmp_path) as agent:
        agent.start()
        yield agent


in_containers = pytest.mark.skipif(
    not may_make_containers(), reason="needs root, unshare(1), and the right to mount and to make device files"
)


@in_containers
@pytest.mark.parametrize("name", ["/dev/nvidia1", "/dev/nvidia0"])
def test_a_container_that_holds_gpu_1_never_has_gpu_0_limited(fake: FakeNvml, agent: Agent, name: str) -> None:
    # Whatever the file is called inside, its minor number is the node's.
    found = train(agent, namespace=f"{PRIVATE_DEV} && mknod {name} c 195 1", CUDA_VISIBLE_DEVICES="0")
    assert found["visible"] == [fake.gpus[1].uuid]
    assert found["refused"] == [[0, "not_allowed"]]
    assert (found["limited"], found["held"]) == (True, [1])
    assert fake.gpus[0].sets_watts() == []
    assert fake.gpus[1].sets_watts()[0] == 150


@in_containers
def test_a_container_without_a_gpu_has_none_limited(fake: FakeNvml, agent: Agent) -> None:
    found = train(agent, namespace=PRIVATE_DEV)
    assert (found["visible"], found["limited"], found["held"]) == ([], False, [])
    assert [gpu.sets_watts() for gpu in fake.gpus] == [[], []]


@in_containers
def test_a_privileged_container_is_refused_what_it_was_not_given(fake: FakeNvml, agent: Agent) -> None:
    every = f"{PRIVATE_DEV} && mknod /dev/nvidia0 c 195 0 && mknod /dev/nvidia1 c 195 1"
    own = fake.gpus[1].uuid
    found = train(agent, namespace=every, NVIDIA_VISIBLE_DEVICES=own)  # on GPU 0, which it was not given
    assert (found["refused"], found["held"]) == ([[0, "not_allowed"]], [])
    assert "is not one of your process's" in found["log"]
    second = train(agent, namespace=every, NVIDIA_VISIBLE_DEVICES=own, CUDA_VISIBLE_DEVICES="1")
    assert second["held"] == [1]
    assert fake.gpus[0].sets_watts() == []


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_job_whose_control_group_allows_gpu_1_never_has_gpu_0_limited(
    fake: FakeNvml, agent: Agent, version: str
) -> None:
    with gpu_1_group(version) as group:
        found = train(agent, group=group, CUDA_VISIBLE_DEVICES="0")
    assert (found["visible"], found["by"]) == ([fake.gpus[1].uuid], "the control group of the process")
    assert (found["refused"], found["limited"], found["held"]) == ([[0, "not_allowed"]], True, [1])
    assert fake.gpus[0].sets_watts() == []


def test_a_slurm_job_that_holds_gpu_1_never_has_gpu_0_limited(fake: FakeNvml, agent: Agent) -> None:
    found = train(agent, SLURM_JOB_GPUS="1", CUDA_VISIBLE_DEVICES="0")
    assert (found["visible"], found["held"]) == ([fake.gpus[1].uuid], [1])
    unconstrained = train(agent, SLURM_JOB_GPUS="1", CUDA_VISIBLE_DEVICES="1")
    assert (unconstrained["refused"], unconstrained["held"]) == ([[0, "not_allowed"]], [1])
    assert fake.gpus[0].sets_watts() == []
