from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import pytest

from rheostat import Gpu
from rheostat.errors import ConfigurationError, ServerUnreachable
from rheostat.schemas.agent import NodeGpu, NodeGpus
from rheostat.sdk import seen_gpus as sdk_seen_gpus
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.ranks import Alone
from rheostat.sdk.run_gpus import NamedGpus, RunGpus, find_run_gpus
from rheostat.sdk.seen_gpus import UNKNOWN_GPU
from tests.sdk.driver_tool import install, printing
from tests.sdk.examples import node_gpu
from tests.sdk.thread_ranks import on_ranks


@pytest.fixture(autouse=True)
def _no_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(sdk_seen_gpus, "_DRIVER_DIRECTORY", tmp_path / "none")
    install(monkeypatch, tmp_path, "exit 9")


class FakeAgent:
    """An agent of a node with some GPUs; None: there is none."""

    is_named = False

    def __init__(
        self, node: str, gpus: list[NodeGpu] | None, visible: Sequence[int] | Literal["all"] | None = "all"
    ) -> None:
        self.socket = Path(f"/run/{node}/agent.sock")
        self.has_socket = gpus is not None
        self._gpus = gpus
        shown = [gpu.gpu for gpu in gpus or () if visible == "all" or gpu.index in (visible or ())]
        self._visible = None if visible is None else shown

    def node_gpus(self) -> NodeGpus:
        if self._gpus is None:
            raise ServerUnreachable("There is no agent socket.")
        return NodeGpus(gpus=self._gpus, visible=self._visible, visible_by="the test")


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


def like(gpu: NodeGpu, **changes: Any) -> NodeGpu:
    return gpu.model_copy(update=changes)


def test_a_container_that_holds_gpu_1_leases_that_one() -> None:
    (run,) = found([FakeAgent("a", [node_gpu(0), node_gpu(1)], visible=[1])])
    assert (run.to_lease, run.problem) == ((node_gpu(1).gpu,), None)


def test_ranks_that_see_other_gpus_of_a_node_lease_their_own() -> None:
    node = [node_gpu(0), node_gpu(1)]
    runs = found([FakeAgent("a", node, visible=[0]), FakeAgent("a", node, visible=[1])])
    assert [run.leads for run in runs] == [True, True]
    assert [run.to_lease for run in runs] == [(node_gpu(0).gpu,), (node_gpu(1).gpu,)]
    assert [run.gpu.count for run in runs] == [2, 2]


def test_where_it_is_unknown_nothing_is_leased_and_the_remedy_is_named() -> None:
    (run,) = found([FakeAgent("a", [node_gpu(0), node_gpu(1)], visible=None)])
    assert run.to_lease == ()
    assert "(the test)" in str(run.problem)
    assert "RHEOSTAT_GPUS" in str(run.problem)
    assert not run.is_usual


def test_what_the_agent_cannot_see_the_driver_may_show(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, printing(f"0, {node_gpu(1).gpu}, V100, 300, Disabled"))
    (run,) = found([FakeAgent("a", [node_gpu(0), node_gpu(1)], visible=None)])
    assert (run.to_lease, run.problem) == ((node_gpu(1).gpu,), None)


def test_a_process_without_a_gpu_leases_none_and_that_is_usual() -> None:
    (run,) = found([FakeAgent("a", [node_gpu(0)], visible=[])])
    assert (run.gpu, run.to_lease, run.is_usual) == (UNKNOWN_GPU, (), True)


def test_a_gpu_that_the_agent_takes_for_anothers_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, printing("0, GPU-7, V100, 300, Disabled"))
    (run,) = found([FakeAgent("a", [node_gpu(0)], visible=[])])
    assert (run.gpu.model, run.to_lease, run.is_usual) == ("V100", (), False)
    assert "finds no GPU of this process" in str(run.problem)


def test_without_an_agent_the_gpus_are_those_that_the_process_sees(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, printing("0, GPU-7, H200, 700, Disabled\n1, GPU-8, H200, 700, Disabled"))
    (run,) = found([NO_AGENT])
    assert (run.gpu, run.is_usual) == (Gpu(model="H200", enforced_limit_watts=700), False)
    ranks = found([NO_AGENT, NO_AGENT])
    assert {one.gpu for one in ranks} == {Gpu(model="H200", count=2, enforced_limit_watts=700)}
    assert [one.is_usual for one in ranks] == [False, True]  # one of them says it


def test_a_partitioned_gpu_is_described_but_not_leased(monkeypatch: pytest.MonkeyPatch) -> None:
    (whole,) = found([FakeAgent("a", [like(node_gpu(0), partitioned=True)])])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-0aaaaaaa")
    (part,) = found([NODE_A])
    for run in (whole, part):
        assert (run.to_lease, run.is_usual) == ((), True)
        assert "partitioned" in str(run.problem)
    assert (whole.gpu.model, part.gpu.model) == ("V100 MIG", "MIG")


def test_where_limits_may_not_be_set_the_one_in_force_is_what_is_known() -> None:
    unsettable = {"limits": "forbidden", "lowest_settable_watts": None, "highest_settable_watts": None}
    (run,) = found([FakeAgent("a", [like(node_gpu(0), enforced_watts=250.4, power_scope="module", **unsettable)])])
    assert run.gpu == Gpu(model="V100", enforced_limit_watts=250, power_scope="module")
    assert run.to_lease == (node_gpu(0).gpu,)


def test_a_limit_from_outside_is_told_when_it_is_under_the_one_that_is_set() -> None:
    (run,) = found([FakeAgent("a", [like(node_gpu(0), enforced_watts=220.0, highest_settable_watts=220.0)])])
    assert (run.gpu.max_power_limit_watts, run.gpu.enforced_limit_watts) == (220, 220)


def test_the_users_description_comes_first_within_the_limits_of_the_agents() -> None:
    (run,) = found([NODE_A], DESCRIBED)
    assert run.gpu == DESCRIBED.model_copy(update={"max_power_limit_watts": 300})
    (without_agent,) = found([NO_AGENT], DESCRIBED)
    assert without_agent.gpu == DESCRIBED


def test_a_named_gpu_that_is_missing_on_one_rank_is_an_error_on_all() -> None:
    with pytest.raises(ConfigurationError, match="GPU '1' is not on this node"):
        found([NODE_A, FakeAgent("b", [node_gpu(0)])], gpus=[1])
