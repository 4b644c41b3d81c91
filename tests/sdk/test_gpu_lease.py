"""A trial's GPUs: the real agent in a process of its own, over the fake NVML."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles
from threading import Thread
from time import monotonic_ns, sleep

import pytest

from rheostat import Client, Gpu, JobSettings
from rheostat.errors import ConfigurationError, ServerRefused, ServerUnreachable
from rheostat.schemas.trials import ObserveRequest
from rheostat.sdk import gpu_lease
from rheostat.sdk.gpu_lease import GpuLease
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.node_report import Limits
from tests.agent.agents import Agent, as_privileged
from tests.nvml.fake import NOT_SUPPORTED, Call, FakeNvml
from tests.sdk.examples import GOES_ON, JOB, TRIAL
from tests.sdk.scripted_server import Reply, ScriptedServer, in_turn
from tests.waiting import Stopwatch, eventually

pytestmark = as_privileged

SETTINGS = JobSettings(batch_sizes=[32], default_batch_size=32, max_epochs=5)
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def agent(fake: FakeNvml, tmp_path: Path) -> Iterator[Agent]:
    with Agent(fake, tmp_path) as agent:
        agent.start()
        yield agent


@pytest.fixture
def node(agent: Agent) -> Iterator[NodeAgent]:
    with NodeAgent(agent.socket) as node:
        yield node


def joules(lease: GpuLease) -> float | None:
    return None if (energy := lease.energy()) is None else energy.joules


def test_a_limit_holds_until_the_lease_is_closed(fake: FakeNvml, node: NodeAgent) -> None:
    lease = GpuLease(node, [fake.gpus[0].uuid], "nightly", None)
    assert lease.limit(150)
    assert lease.energy_source == "counter"
    assert fake.gpus[0].limit_watts == 150
    assert node.gpus()[0].holder is not None
    lease.close()
    assert fake.gpus[0].limit_watts == 300
    assert fake.gpus[1].sets_watts() == []


def test_a_limit_that_is_cut_is_not_in_force(fake: FakeNvml, node: NodeAgent) -> None:
    lease = GpuLease(node, [fake.gpus[0].uuid], "nightly", None)
    assert lease.limit(300)
    fake.gpus[0].state.enforced_cap_mw = 200_000
    assert not lease.limit(250)
    assert lease.limit(150)
    lease.close()


def test_a_limit_that_the_driver_rounds_is_in_force(fake: FakeNvml, node: NodeAgent) -> None:
    fake.gpus[0].state.rounding_mw = 5_000
    lease = GpuLease(node, [fake.gpus[0].uuid], "nightly", None)
    assert lease.limit(153)
    assert fake.gpus[0].limit_watts == 150
    lease.close()


def test_settling_without_a_best_limit_gives_each_gpu_the_one_that_was_found(fake: FakeNvml, node: NodeAgent) -> None:
    fake.gpus[0].limit_watts = 250
    lease = GpuLease(node, [gpu.uuid for gpu in fake.gpus], "nightly", None)
    lease.settle(None)
    assert lease.try_limit(150)
    assert [gpu.limit_watts for gpu in fake.gpus] == [150, 150]
    lease.settle(None)
    assert [gpu.limit_watts for gpu in fake.gpus] == [250, 300]
    lease.settle(200)
    assert [gpu.limit_watts for gpu in fake.gpus] == [200, 200]
    lease.close()
    assert [gpu.limit_watts for gpu in fake.gpus] == [250, 300]


def test_settling_raises_no_limit_where_the_site_would_allow_it(fake: FakeNvml, tmp_path: Path) -> None:
    fake.gpus[0].limit_watts = 250
    with Agent(fake, tmp_path, site="[limits]\nmay_raise = true\n") as agent:
        agent.start()
        with NodeAgent(agent.socket) as node:
            lease = GpuLease(node, [gpu.uuid for gpu in fake.gpus], "nightly", None)
            assert lease.try_limit(150)
            lease.settle(None)
            assert [gpu.limit_watts for gpu in fake.gpus] == [250, 300]
            lease.close()


def test_settling_is_made_up_for_when_the_agent_is_back(fake: FakeNvml, agent: Agent, node: NodeAgent) -> None:
    lease = GpuLease(node, [fake.gpus[0].uuid], "nightly", None)
    assert lease.try_limit(150)
    agent.kill()
    lease.settle_soon(None)
    agent.start()
    eventually(lambda: fake.gpus[0].limit_watts == 300)
    lease.close()


def test_settling_late_does_not_undo_a_limit_that_was_set_meanwhile(
    fake: FakeNvml, agent: Agent, node: NodeAgent
) -> None:
    lease = GpuLease(node, [fake.gpus[0].uuid], "nightly", None)
    assert lease.try_limit(150)
    fake.gpus[0].lose()
    lease.settle_soon(200)
    fake.gpus[0].heal()
    eventually(lambda: node.gpus()[0].state == "verified")
    assert lease.limit(250)
    sleep(2 * gpu_lease._RETRY_SECONDS)
    assert fake.gpus[0].limit_watts == 250
    lease.close()


def test_settling_that_waits_for_the_agent_does_not_undo_a_limit_that_was_set_meanwhile(
    fake: FakeNvml, agent: Agent, node: NodeAgent
) -> None:
    lease = GpuLease(node, [fake.gpus[0].uuid], "nightly", None)
    assert lease.try_limit(150)
    assert agent.process is not None
    agent.process.send_signal(signal.SIGSTOP)
    settling, limiting = Thread(target=lease.settle, args=(None,)), Thread(target=lease.try_limit, args=(200,))
    settling.start()
    eventually(lease._changing.locked)
    limiting.start()
    agent.process.send_signal(signal.SIGCONT)
    settling.join()
    limiting.join()
    assert fake.gpus[0].limit_watts == 200
    lease.close()


def test_energy_is_the_sum_of_its_gpus(fake: FakeNvml, node: NodeAgent) -> None:
    lease = GpuLease(node, [gpu.uuid for gpu in fake.gpus], "nightly", None)
    before = [gpu.energy_joules() for gpu in fake.gpus]
    since = monotonic_ns()
    fake.gpus[0].load(1.0)
    sleep(1.0)
    fake.gpus[0].load(0.0)

    def adds_up() -> bool:
        used, total = lease.usage(since, monotonic_ns()).energy_joules, joules(lease)
        truth = sum(gpu.energy_joules() - begun for gpu, begun in zip(fake.gpus, before, strict=True))
        return used == pytest.approx(truth, rel=0.1) and total == pytest.approx(truth, rel=0.15)

    eventually(adds_up)  # on a busy machine the agent sees the counter's ticks late
    lease.close()


def test_energy_of_a_gpu_that_is_lost_is_unknown_not_zero(fake: FakeNvml, node: NodeAgent) -> None:
    lease = GpuLease(node, [fake.gpus[0].uuid], "nightly", None)
    fake.gpus[0].lose()
    sleep(0.3)
    assert joules(lease) is None
    fake.gpus[0].heal()
    lease.close()


def test_an_expired_lease_is_made_again_with_its_limit(
    fake: FakeNvml, node: NodeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_lease, "HEARTBEAT_SECONDS", 0.1)
    lease = GpuLease(node, [fake.gpus[0].uuid], "nightly", None)
    lease.limit(150)
    holder = node.gpus()[0].holder
    assert holder is not None
    node.end_lease(holder.lease_id)  # as it expires while the process is stopped
    eventually(lambda: fake.gpus[0].limit_watts == 150)
    lease.close()
    assert fake.gpus[0].limit_watts == 300


def test_an_expired_lease_is_made_again_at_once_where_a_limit_is_set(fake: FakeNvml, node: NodeAgent) -> None:
    lease = GpuLease(node, [fake.gpus[0].uuid], "nightly", None)
    expired = lease.lease_id
    node.end_lease(expired)
    assert lease.limit(200)
    assert fake.gpus[0].limit_watts == 200
    assert lease.lease_id != expired
    lease.close()
    with pytest.raises(ServerRefused, match="lease"):
        lease.limit(200)


def test_a_limit_that_was_only_tried_is_not_set_again_in_a_renewed_lease(
    fake: FakeNvml, node: NodeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_lease, "HEARTBEAT_SECONDS", 0.1)
    lease = GpuLease(node, [fake.gpus[0].uuid], "nightly", None)
    lease.limit(250)
    lease.try_limit(150)
    expired = lease.lease_id
    node.end_lease(expired)
    eventually(lambda: lease.lease_id != expired and fake.gpus[0].limit_watts == 250)
    lease.close()


def test_a_lease_knows_what_came_of_its_limit(fake: FakeNvml, node: NodeAgent) -> None:
    lease = GpuLease(node, [fake.gpus[0].uuid], "nightly", None)
    assert lease.limits == Limits()
    lease.limit(150)
    (applied,) = lease.limits.applied
    assert (lease.limits.ordered_watts, applied.applied_watts, applied.found_watts) == (150, 150, 300)
    lease.settle(None)
    assert lease.limits == Limits()
    lease.close()


def test_a_lease_outlives_a_restart_of_the_agent(fake: FakeNvml, agent: Agent, node: NodeAgent) -> None:
    lease = GpuLease(node, [fake.gpus[0].uuid], "nightly", None)
    lease.limit(150)
    agent.kill()
    agent.start()
    assert fake.gpus[0].limit_watts == 150
    assert lease.limit(200)
    eventually(lambda: joules(lease) is not None)
    lease.close()
    assert fake.gpus[0].limit_watts == 300


def test_a_second_trainer_is_warned_who_holds_the_gpu_and_trains_unchanged(
    fake: FakeNvml, node: NodeAgent, caplog: pytest.LogCaptureFixture
) -> None:
    lease = GpuLease(node, [fake.gpus[0].uuid], "other-job", None)
    with Client(NOWHERE, retry_for_seconds=0) as client, client.trial("nightly", SETTINGS, node_agent=node) as trial:
        assert trial.energy_source is None
        assert trial.report(0.5) == "continue"
        assert not trial.limit_power(150)
    (warning,) = [record.getMessage() for record in caplog.records if "held by" in record.getMessage()]
    assert f"process {os.getpid()}" in warning
    assert "other-job" in warning
    assert fake.gpus[0].sets_watts() == []
    with pytest.raises(ServerRefused, match="held by"):
        GpuLease(node, [fake.gpus[0].uuid], "nightly", None)
    lease.close()


def test_a_trial_raises_nothing_where_no_more_threads_can_be_started(
    fake: FakeNvml, node: NodeAgent, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Client(NOWHERE, retry_for_seconds=0, answer_seconds=0.1) as client, monkeypatch.context() as patch:
        patch.setattr(Thread, "start", start)
        with client.trial("nightly", SETTINGS, node_agent=node) as trial:
            assert trial.limit_power(150)
            for _ in trial.steps(range(3)):
                pass
            assert trial.report(0.5) == "continue"
    assert fake.gpus[0].limit_watts == 300


def test_a_trial_knows_its_gpus_from_the_agent(node: NodeAgent, fake: FakeNvml) -> None:
    with Client(NOWHERE, retry_for_seconds=0) as client:
        with client.trial("nightly", SETTINGS, gpus=[1], node_agent=node):
            assert [gpu.holder is not None for gpu in node.gpus()] == [False, True]
        with client.trial("nightly", SETTINGS, gpus=[0, 1], node_agent=node) as trial:
            assert [gpu.holder is not None for gpu in node.gpus()] == [True, True]
            assert trial._gpus.run.gpu == Gpu(
                model="Fake V100",
                count=2,
                min_power_limit_watts=100,
                max_power_limit_watts=300,
                power_scope="gpu",
            )
        with (
            pytest.raises(ConfigurationError, match="GPU '7' is not on this node"),
            client.trial("nightly", SETTINGS, gpus=[7], node_agent=node),
        ):
            pytest.fail("training began")


def test_without_an_agent_training_runs_unchanged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with (
        NodeAgent(tmp_path / "agent.sock") as missing,
        Client(NOWHERE, retry_for_seconds=0) as client,
        client.trial("nightly", SETTINGS, node_agent=missing) as trial,
    ):
        for _ in trial.steps(range(3)):
            pass
        assert trial.report(0.5) == "continue"
        assert trial.batch_size == 32
    assert "energy is not measured" in caplog.text
    with NodeAgent(tmp_path / "agent.sock") as missing, pytest.raises(ServerUnreachable, match="agent"):
        missing.gpus()


def test_a_stopped_agent_holds_up_one_report_and_the_end_for_a_bounded_time(
    fake: FakeNvml, agent: Agent, node: NodeAgent
) -> None:
    assert agent.process is not None
    with ScriptedServer(in_turn(Reply(200, JOB), Reply(201, TRIAL), Reply(200, GOES_ON))) as server:
        with Client(server.url) as client, client.trial("nightly", SETTINGS, node_agent=node) as trial:
            trial.report(0.1)
            agent.process.send_signal(signal.SIGSTOP)
            watch = Stopwatch()
            trial.report(0.2)
            assert watch.seconds() < 2.5  # the agent's second, and some for a busy machine
            watch = Stopwatch()
            for metric in (0.3, 0.4, 0.5):
                assert trial.report(metric) == "continue"
            assert watch.seconds() < 1.5
            agent.process.send_signal(signal.SIGCONT)
            eventually(lambda: trial.energy_joules() is not None)
            trial.report(0.6)
            agent.process.send_signal(signal.SIGSTOP)
            watch = Stopwatch()
        assert watch.seconds() < 6  # one second for the energy, two for the lease, two for the server
        agent.process.send_signal(signal.SIGCONT)
        energies = [seen.body["energy_joules"] for seen in server.seen if seen.path.endswith("/observe")]
        assert [energy is None for energy in energies] == [False, True, True, True, True, False, True]
        assert energies[5] > energies[0]
        eventually(lambda: node.gpus()[0].holder is None)


def test_a_break_in_the_count_is_told_and_the_energy_goes_on(fake: FakeNvml, agent: Agent, node: NodeAgent) -> None:
    fake.gpus[0].fail(Call.GET_ENERGY, NOT_SUPPORTED)
    agent.kill()
    agent.start()
    fake.gpus[0].load(1.0)
    with ScriptedServer(in_turn(Reply(200, JOB), Reply(201, TRIAL), Reply(200, GOES_ON))) as server:
        with Client(server.url) as client, client.trial("nightly", SETTINGS, node_agent=node) as trial:
            eventually(lambda: (trial.energy_joules() or 0) > 100)
            trial.report(0.1)
            agent.kill()
            agent.start()
            eventually(lambda: trial.energy_joules() is not None)
            trial.report(0.2)
        before, after, _ = (seen.body for seen in server.seen if seen.path.endswith("/observe"))
    assert after["energy_joules"] >= before["energy_joules"] > 100
    assert 0 < after["energy_known_from_seconds"] < after["time_seconds"]


def test_entry_does_not_wait_long_for_a_stopped_agent(agent: Agent, node: NodeAgent) -> None:
    assert agent.process is not None
    agent.process.send_signal(signal.SIGSTOP)
    try:
        watch = Stopwatch()
        with Client(NOWHERE, retry_for_seconds=0) as client, client.trial("nightly", SETTINGS, node_agent=node):
            assert watch.seconds() < 6
    finally:
        agent.process.send_signal(signal.SIGCONT)


def test_a_report_waits_for_the_servers_answer_and_for_no_energy(fake: FakeNvml, node: NodeAgent) -> None:
    fake.gpus[0].load(1.0)
    answers = in_turn(Reply(200, JOB), Reply(201, TRIAL), Reply(200, GOES_ON))
    with ScriptedServer(answers) as server, Client(server.url) as client:
        alone, with_energy = [], []
        with client.trial("nightly", SETTINGS, node_agent=node) as trial:
            for number in range(1, 21):
                sleep(0.25)
                watch = Stopwatch()
                client.observe(TRIAL.trial_id, ObserveRequest(epoch=0.0))
                alone.append(watch.seconds())
                sleep(0.25)
                watch = Stopwatch()
                trial.report(0.1, epoch=number / 10)
                with_energy.append(watch.seconds())
        energies = [seen.body["energy_joules"] for seen in server.seen if seen.body and seen.body.get("metric")]
    assert None not in energies
    assert energies == sorted(set(energies))
    # The quarter that took the least, since this machine may be busy with something else: where a report waited for the
    # counter's next tick, that would still be 25 ms more. On a quiet machine it is some 3 ms.
    assert quantiles(with_energy)[0] - quantiles(alone)[0] < 0.015, (with_energy, alone)


def test_an_agent_that_dies_in_the_middle_stops_nothing(fake: FakeNvml, agent: Agent, node: NodeAgent) -> None:
    with Client(NOWHERE, retry_for_seconds=0) as client, client.trial("nightly", SETTINGS, node_agent=node) as trial:
        assert trial.limit_power(150)
        agent.kill()
        assert trial.report(0.5) == "continue"
    assert fake.gpus[0].limit_watts == 150
    assert agent.run("restore").returncode == 0
    assert fake.gpus[0].limit_watts == 300


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_the_limit_of_a_killed_trainer_is_restored_within_a_second_although_a_child_lives(
    fake: FakeNvml, agent: Agent, number: signal.Signals
) -> None:
    fake.gpus[0].limit_watts = 250
    program = f"""
import os, time
from rheostat import Client, JobSettings
settings = JobSettings(batch_sizes=[32], default_batch_size=32, max_epochs=5)
with Client("{NOWHERE}", retry_for_seconds=0) as client, client.trial("nightly", settings) as trial:
    child = os.fork()
    if child == 0:
        time.sleep(60)
    assert trial.limit_power(150)
    print(child, flush=True)
    time.sleep(60)
"""
    environment = {**os.environ, "RHEOSTAT_AGENT_DIR": str(agent.directory)}
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True
    ) as trainer:
        assert trainer.stdout is not None
        child = int(trainer.stdout.readline())
        assert fake.gpus[0].limit_watts == 150
        trainer.send_signal(number)
        watch = Stopwatch()
        try:
            eventually(lambda: fake.gpus[0].limit_watts == 250)
            assert watch.seconds() < 1
        finally:
            os.kill(child, signal.SIGKILL)
