"""Checks of the agent, over a real one."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from rheostat.doctor.facts.gpus import Gpus
from rheostat.doctor.facts.installation import Installation
from rheostat.doctor.facts.node import Access, NodeFacts, look_at_node
from rheostat.errors import GpuReadOnly
from tests.agent.agents import as_privileged
from tests.agent.bench import Bench, Served
from tests.doctor.machines import found, unprivileged
from tests.nvml.fake import NO_PERMISSION, UNKNOWN, Call
from tests.waiting import eventually


@as_privileged
def test_an_agent_that_is_ready(served: Served, directory: Path) -> None:
    node = look_at_node(directory)
    assert (found("agent", node=node).state, found("agent", node=node).found) == ("ok", "the agent is ready: 2 GPUs")
    assert found("leases", node=node).found == "no GPU is leased, none is limited"
    assert found("privilege", node=node).found == "an agent runs; who trains needs no privilege"
    served.bench.node.set_power_limit(served.bench.lease(), 200_000)
    held = found("leases", node=look_at_node(directory))
    process = served.bench.processes[0].pid
    assert (held.state, f"GPU 0 by process {process} of root, job nightly" in held.found) == ("ok", True)


def test_no_agent_matters_where_there_is_a_gpu(directory: Path) -> None:
    missing = found("agent", gpus=Gpus(on_bus=1), node=replace(look_at_node(directory), is_named=False))
    assert missing.state == "problem"
    assert missing.found == f"no agent runs here: there is no socket {directory / 'agent.sock'}"
    assert missing.remedy.startswith("Run the agent as root: sudo rheostat agent.")
    assert found("agent", node=look_at_node(directory)).state == "problem"
    assert found("agent", node=NodeFacts()).state == "skipped"


def test_a_container_needs_the_nodes_socket(directory: Path) -> None:
    inside = Installation(container="Docker")
    finding = found("agent", gpus=Gpus(on_bus=1), node=look_at_node(directory), installation=inside)
    assert finding.remedy.startswith(f"Mount the node's {directory} into this container.")


def test_an_agent_that_was_killed(bench: Bench, directory: Path) -> None:
    served = Served(bench, directory)
    bench.node.set_power_limit(bench.lease(), 200_000)
    os.link(served.socket, directory / "kept")
    served.close()
    (directory / "kept").rename(served.socket)
    bench.kill()
    node = look_at_node(directory)
    silent, left = found("agent", node=node), found("leases", node=node)
    assert (silent.state, "systemctl restart rheostat-agent" in silent.remedy) == ("problem", True)
    assert left.found == f"{bench.fake.gpus[0].uuid} still has the limit of an agent that ended; it had 300 W"
    assert left.remedy.startswith("Restore it: sudo rheostat agent recover")


def test_an_agent_whose_socket_is_closed_to_this_user(served: Served, directory: Path) -> None:
    served.socket.chmod(0)
    with unprivileged():
        node = look_at_node(directory)
    assert node.access is not None
    finding = found("agent", node=node)
    assert finding.state == "problem"
    assert finding.found == f"{node.access.user} may not use the agent's socket {served.socket}"
    assert finding.remedy.startswith(f"Run: sudo usermod -aG {node.access.group} {node.access.user}.")


def test_a_member_of_the_group_who_has_not_logged_in_since() -> None:
    access = Access("alice", "rheostat", is_open=False, is_listed=True)
    finding = found("agent", node=NodeFacts(access=access))
    assert finding.remedy.startswith("Log in again: alice is in the group rheostat")


def test_a_socket_in_a_folder_that_is_closed(served: Served, directory: Path) -> None:
    directory.chmod(0)
    try:
        with unprivileged():
            finding = found("agent", node=look_at_node(directory))
    finally:
        directory.chmod(0o755)
    assert (finding.state, finding.remedy) == ("problem", f"Open its folder: sudo chmod a+x {directory}")


def test_an_agent_that_may_not_set_limits(served: Served, bench: Bench, directory: Path) -> None:
    bench.fake.gpus[0].fail(Call.SET_LIMIT, NO_PERMISSION)
    with pytest.raises(GpuReadOnly):
        bench.node.set_power_limit(bench.lease(), 200_000)
    finding = found("agent", node=look_at_node(directory))
    assert (finding.state, "does not permit changing the power limit" in finding.found) == ("problem", True)


def test_an_agent_of_another_version(served: Served, directory: Path) -> None:
    node = look_at_node(directory)
    assert node.answer is not None
    fit = replace(node, answer=node.answer.model_copy(update={"problems": []}))
    finding = found("agent", node=fit, installation=Installation(version="99.0.0"))
    assert (finding.state, "this is 99.0.0" in finding.found) == ("warning", True)


def test_a_limit_that_another_program_has_set(served: Served, bench: Bench, directory: Path) -> None:
    bench.node.set_power_limit(bench.lease(), 200_000)
    bench.fake.gpus[0].limit_watts = 150
    eventually(lambda: bench.state().value == "foreign")
    finding = found("leases", node=look_at_node(directory))
    assert finding.state == "warning"
    assert finding.found == "another program has set 150 W on GPU 0, over the agent's limit"


def test_a_limit_that_cannot_be_restored(served: Served, bench: Bench, directory: Path) -> None:
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    bench.fake.gpus[0].fail(Call.SET_LIMIT, UNKNOWN)
    bench.processes[0].kill()
    bench.processes[0].wait()
    bench.node.reap(0.1)
    eventually(lambda: bench.state().value == "restore_failed")
    finding = found("leases", node=look_at_node(directory))
    assert (finding.state, "GPU 0 is restore failed" in finding.found) == ("problem", True)


def test_a_ledger_file_that_cannot_be_read(bench: Bench, directory: Path) -> None:
    (bench.ledger.directory / "GPU-1.unreadable").touch()
    finding = found("leases", node=look_at_node(directory))
    assert (finding.state, "GPU-1.unreadable is unreadable" in finding.found) == ("problem", True)
