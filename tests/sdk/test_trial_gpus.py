"""The GPUs of one trial over its ranks."""

from rheostat.errors import ServerUnreachable
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.outbox import WarnOnce
from rheostat.sdk.ranks import Alone, Ranks
from rheostat.sdk.run_gpus import RunGpus
from rheostat.sdk.seen_gpus import UNKNOWN_GPU
from rheostat.sdk.trial_gpus import TrialGpus
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
