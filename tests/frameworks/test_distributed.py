"""The trial under `torch.distributed`: ranks that are real processes, over Gloo."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from rheostat import Client
from tests.agent.agents import Agent, as_privileged
from tests.frameworks.processes import SimulatedNode, free_port, run, train
from tests.nvml.fake import FakeNvml
from tests.sdk.server_process import ServerProcess
from tests.waiting import eventually

ANYWHERE: dict[str, str] = {}


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[SimulatedNode]]:
    """Two nodes of two GPUs each, on one machine."""
    with SimulatedNode(tmp_path / "a", gpus=2) as first, SimulatedNode(tmp_path / "b", gpus=2) as second:
        yield [first, second]


def environments(nodes: list[SimulatedNode], ranks_per_node: int) -> list[dict[str, str]]:
    return [{**node.environment, "LOCAL_RANK": str(rank)} for node in nodes for rank in range(ranks_per_node)]


class TestWhatAllRanksAreTold:
    def test_rank_0_asks_and_decides_for_all(self, server: ServerProcess, client: Client, job_id: str) -> None:
        ranks = train("same_for_all", server.url, [ANYWHERE] * 3, job_id)
        (trial,) = client.list_trials(job_id).trials
        for rank in ranks:
            assert (rank["trial_id"], rank["batch_size"], rank["learning_rate"]) == (trial.trial_id, 64, 0.1)
            assert rank["actions"] == ["continue", "stop"]
            assert rank["limits"] == [None, 150]
        assert (trial.state, trial.metric, trial.epochs) == ("converged", 0.95, 2)

    def test_shares_add_up_in_every_step(self, server: ServerProcess, job_id: str) -> None:
        ranks = train("same_for_all", server.url, [ANYWHERE] * 3, job_id)
        assert [rank["per_device"] for rank in ranks] == [22, 21, 21]
        steps = list(zip(*(rank["batches"] for rank in ranks), strict=True))
        sizes = [sum(len(batch) for batch in step) for step in steps]
        assert [sizes[0] + sizes[1], sizes[2] + sizes[3]] == [64, 64]
        # Two samples are left: they are filled up, so that no rank waits for another one's step.
        assert [[len(batch) for batch in step] for step in steps[4:]] == [[1, 1, 1]] * 2
        seen = [sample for step in steps[:4] for batch in step for sample in batch]
        assert len(seen) == len(set(seen)) == 128
        assert {sample for step in steps for batch in step for sample in batch} == set(range(130))

    def test_without_a_server_all_train_with_the_default(self, job_id: str) -> None:
        ranks = train("same_for_all", f"http://127.0.0.1:{free_port()}", [ANYWHERE] * 2, job_id)
        for rank in ranks:
            assert (rank["trial_id"], rank["batch_size"], rank["learning_rate"]) == (None, 64, 0.1)
            assert (rank["actions"], rank["limits"]) == (["continue", "stop"], [None, None])

    def test_a_refusal_ends_all_ranks(self, server: ServerProcess, job_id: str) -> None:
        ranks = train("is_refused", server.url, [ANYWHERE] * 2, job_id)
        assert [rank.partition(":")[0] for rank in ranks] == ["ServerRefused", "ConfigurationError"]
        assert all("no-such-trial" in rank for rank in ranks)

    def test_without_init_process_group_the_error_says_to_call_it(self, server: ServerProcess, job_id: str) -> None:
        for rank in train("is_not_initialised", server.url, [ANYWHERE] * 2, job_id):
            assert rank.startswith("ConfigurationError: WORLD_SIZE is 2")
            assert "init_process_group()" in rank


class TestNodes:
    def test_one_rank_of_each_leases_and_energy_adds_up(
        self, server: ServerProcess, client: Client, job_id: str, nodes: list[SimulatedNode]
    ) -> None:
        ranks = train("uses_energy", server.url, environments(nodes, 2), job_id, "1200")
        assert [rank["held"] for rank in ranks] == [2, 0, 2, 0]
        assert [rank["energy_source"] for rank in ranks] == ["counter", None, "counter", None]
        (trial,) = client.list_trials(job_id).trials
        assert (trial.gpu.count, trial.gpu.model) == (4, "Simulated V100")
        joules = sum(rank["joules"] for rank in ranks)
        # As much as may be believed of four GPUs in so short a time; they stand idle before and after.
        assert joules > 3e4
        assert trial.energy_joules == pytest.approx(joules, rel=0.05)

    def test_a_node_without_an_agent_leaves_energy_unknown_and_its_gpus_counted(
        self, server: ServerProcess, client: Client, job_id: str, nodes: list[SimulatedNode]
    ) -> None:
        ranks = train("trains_on_what_is_there", server.url, [nodes[0].environment, ANYWHERE], job_id)
        assert len({rank["trial_id"] for rank in ranks}) == 1
        (trial,) = client.list_trials(job_id).trials
        assert (trial.energy_joules, trial.gpu.count) == (None, 2)

    def test_a_rank_that_dies_leaves_no_gpu_limited(
        self, server: ServerProcess, client: Client, job_id: str, nodes: list[SimulatedNode]
    ) -> None:
        first, last = run("loses_its_last_rank", server.url, environments(nodes, 1), job_id)
        assert (first.code, last.code) == (0, -signal.SIGKILL), first.log
        assert first.said not in (None, "nothing happened")
        for node in nodes:
            eventually(lambda node=node: node.limits_watts() == [250, 250])  # type: ignore[misc]
        assert client.list_trials(job_id).trials[0].state == "cancelled"


class TestPowerLimits:
    def test_a_step_takes_as_long_as_the_slowest_rank(self, nodes: list[SimulatedNode]) -> None:
        first, second = train("measures_a_limit", "http://127.0.0.1:1", environments(nodes[:1], 2))
        assert second == []
        (measured,) = first
        assert measured["time_seconds"] / measured["steps"] == pytest.approx(0.03, rel=0.2)
        # Both GPUs stand idle, for the steps of their own rank.
        assert measured["energy_joules"] == pytest.approx(36 * measured["time_seconds"] * (1 + 0.02 / 0.03), rel=0.2)
        assert nodes[0].limits_watts() == [250, 250]

    # A busy machine's steps differ so much that each limit takes the longest time that it may.
    @as_privileged
    def test_they_are_measured_while_all_ranks_train(
        self, server: ServerProcess, client: Client, job_id: str, fake: FakeNvml, tmp_path: Path
    ) -> None:
        for gpu in fake.gpus:
            gpu.load(1.0)
        with Agent(fake, tmp_path) as agent:
            agent.start()
            here = {"RHEOSTAT_AGENT_DIR": str(agent.directory)}
            first, second = train("trains_while_limits_are_measured", server.url, [here] * 2, job_id)
            assert first["limit"] == second["limit"] == 150
            assert first["weights"] == second["weights"]
            for gpu in fake.gpus:
                assert gpu.sets_watts()[0] == 250
                assert 150 in gpu.sets_watts()
                assert gpu.limit_watts == 300
        (trial,) = client.list_trials(job_id).trials
        assert (trial.state, trial.power_limit_watts) == ("converged", None)
        assert trial.energy_joules is not None
