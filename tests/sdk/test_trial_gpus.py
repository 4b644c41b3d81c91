"""The GPUs of one trial over its ranks."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from rheostat.errors import ServerUnreachable
from rheostat.schemas.server import Gpu
from rheostat.sdk import node_agent
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.outbox import WarnOnce
from rheostat.sdk.ranks import Alone, Ranks
from rheostat.sdk.run_gpus import RunGpus
from rheostat.sdk.seen_gpus import UNKNOWN_GPU
from rheostat.sdk.trial_gpus import TrialGpus, warn_once_per_process
from tests.sdk.thread_ranks import on_ranks

NO_AGENT = ServerUnreachable("There is no agent socket.")


def gpus_of(rank: Ranks, *, leads: bool = True) -> TrialGpus:
    """Return the GPUs of a rank on a node of its own, where no agent answers."""
    run = RunGpus(UNKNOWN_GPU, leads, (), NO_AGENT if leads else None)
    gpus = TrialGpus(f"n{rank.rank}", NodeAgent(), run, "nightly", WarnOnce())
    gpus.hold(None, rank)
    return gpus


def test_every_rank_knows_the_nodes_of_all_and_its_own_first() -> None:
    def names(rank: Ranks) -> list[str]:
        gpus = gpus_of(rank, leads=rank.rank != 1)
        gpus.meet(rank)
        return [node.node for node in gpus.nodes()]

    assert on_ranks(3, names) == [["n0", "n2"], ["n0", "n2"], ["n2", "n0"]]


def test_with_the_energy_of_a_report_come_the_nodes() -> None:
    def names(rank: Ranks) -> list[str]:
        gpus = gpus_of(rank)
        assert gpus.energy_at(0, rank)() is None
        return [node.node for node in gpus.nodes()]

    assert on_ranks(2, names) == [["n0", "n1"], ["n1", "n0"]]


def test_one_process_reports_its_own_node() -> None:
    (node,) = gpus_of(Alone()).nodes()
    assert (node.node, node.agent, node.problems) == ("n0", "absent", ["There is no agent socket."])


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Let agents have their socket where none is, in a process that has not warned yet."""
    monkeypatch.delenv("RHEOSTAT_AGENT_DIR", raising=False)
    monkeypatch.setattr(node_agent, "DEFAULT_DIRECTORY", tmp_path)
    warn_once_per_process.cache_clear()
    yield tmp_path
    warn_once_per_process.cache_clear()


def warnings_of(log: pytest.LogCaptureFixture, gpu: Gpu, *, chooses_batch_sizes: bool = True) -> list[str]:
    """Return what two trials of a process warn of that find no agent."""
    log.clear()
    for _ in (1, 2):
        agent = NodeAgent()
        problem = ServerUnreachable("There is no agent socket.", hint="Start one.")
        gpus = TrialGpus("n0", agent, RunGpus(gpu, True, (), problem), "nightly", WarnOnce())
        gpus.hold("trial", Alone(), chooses_batch_sizes=chooses_batch_sizes)
    return [record.getMessage() for record in log.records if record.levelno >= logging.WARNING]


def test_without_a_gpu_no_agent_is_asked_for(nowhere: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert warnings_of(caplog, UNKNOWN_GPU) == ["No GPU is known here: only batch sizes are chosen."]
    power_only = warnings_of(caplog, UNKNOWN_GPU, chooses_batch_sizes=False)
    assert power_only == ["No GPU is known here: no power limit is chosen."]


def test_with_a_gpu_or_a_named_agent_the_missing_one_is_told_once(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    end = "agent.sock), so power limits stay as they are and energy is not measured. Start one."
    assert warnings_of(caplog, Gpu(model="V100")) == [f"No agent here (there is no socket at {nowhere}/{end}"]
    monkeypatch.setenv("RHEOSTAT_AGENT_DIR", f"{nowhere}/away")
    assert warnings_of(caplog, UNKNOWN_GPU) == [f"No agent here (there is no socket at {nowhere}/away/{end}"]
