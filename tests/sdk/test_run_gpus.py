from pathlib import Path
from typing import cast

import pytest

from rheostat import Gpu
from rheostat.errors import ConfigurationError, ServerUnreachable
from rheostat.schemas.agent import NodeGpu
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.ranks import Alone
from rheostat.sdk.run_gpus import NamedGpus, RunGpus, find_run_gpus
from tests.sdk.examples import node_gpu
from tests.sdk.thread_ranks import on_ranks


class FakeAgent:
    """An agent of a node with some GPUs; None: it does not answer."""

    def __init__(self, node: str, gpus: list[NodeGpu] | None) -> None:
        self.socket = Path(f"/run/{node}/agent.sock")
        self._gpus = gpus

    def gpus(self) -> list[NodeGpu]:
        if self._gpus is None:
            raise ServerUnreachable("No agent answers.")
        return self._gpus


def found(agents: list[FakeAgent], gpu: Gpu | None = None, gpus: NamedGpus = None) -> list[RunGpus]:
    """Return what each rank finds, whose agent is the one of its number."""
    nodes = [cast("NodeAgent", agent) for agent in agents]
    if len(nodes) == 1:
        return [find_run_gpus(nodes[0], Alone(), gpu, gpus)]
    return on_ranks(len(nodes), lambda rank: find_run_gpus(nodes[rank.rank], rank, gpu, gpus))


NODE_A = FakeAgent("a", [node_gpu(0), node_gpu(1)])
NODE_B = FakeAgent("b", [node_gpu(0, lowest_watts=120.5), node_gpu(1, highest_watts=280.5)])
NO_AGENT = FakeAgent("c", None)
DESCRIBED = Gpu(model="A100", count=4, min_power_limit_watts=150, max_power_limit_watts=400)


def test_one_process_has_the_first_gpu() -> None:
    (run,) = found([NODE_A])
    assert run.to_lease == (node_gpu(0).gpu,)
    assert run.gpu == Gpu(model="V100", count=1, min_power_limit_watts=100, max_power_limit_watts=300)


def test_one_rank_of_each_node_leases_the_gpus_of_all_its_ranks() -> None:
    runs = found([NODE_A, NODE_A, NODE_B, NODE_B])
    assert [run.leads for run in runs] == [True, False, True, False]
    assert [len(run.to_lease) for run in runs] == [2, 0, 2, 0]


def test_the_limits_are_those_that_every_node_allows() -> None:
    for run in found([NODE_A, NODE_A, NODE_B, NODE_B]):
        assert run.gpu == Gpu(model="V100", count=4, min_power_limit_watts=121, max_power_limit_watts=280)


def test_a_rank_whose_agent_does_not_answer_still_counts() -> None:
    with_agent, without = found([NODE_A, NO_AGENT])
    assert with_agent.gpu == without.gpu
    assert with_agent.gpu is not None
    assert with_agent.gpu.count == 2
    assert (with_agent.problem, without.to_lease) == (None, ())
    assert isinstance(without.problem, ServerUnreachable)


def test_the_users_description_comes_first_within_the_limits_of_the_agents() -> None:
    (run,) = found([NODE_A], DESCRIBED)
    assert run.gpu == DESCRIBED.model_copy(update={"max_power_limit_watts": 300})
    (without_agent,) = found([NO_AGENT], DESCRIBED)
    assert without_agent.gpu == DESCRIBED


def test_a_named_gpu_that_is_missing_on_one_rank_is_an_error_on_all() -> None:
    with pytest.raises(ConfigurationError, match="GPU '1' is not on this node"):
        found([NODE_A, FakeAgent("b", [node_gpu(0)])], gpus=[1])
