"""What an agent finds at its start: the ledger of the last one, and GPUs that do not respond."""

import os
from pathlib import Path

import pytest

from rheostat.agent.records import Entry, Terms
from rheostat.agent.states import GuardState
from tests.agent.agents import as_privileged
from tests.agent.bench import Bench
from tests.nvml.fake import FakeNvml
from tests.waiting import eventually


@pytest.mark.parametrize(
    ("limit_watts", "alive", "state", "limit_after"),
    [
        (200, True, GuardState.VERIFIED, 200),
        (200, False, GuardState.FREE, 280),
        (150, False, GuardState.FREE, 280),
        (280, True, GuardState.HELD, 280),
        (280, False, GuardState.FREE, 280),
        (220, True, GuardState.FOREIGN, 220),
        (220, False, GuardState.FREE, 220),
    ],
)
def test_a_new_agent_continues_from_the_ledger_of_the_last_one(
    fake: FakeNvml, bench: Bench, *, limit_watts: int, alive: bool, state: GuardState, limit_after: int
) -> None:
    bench.node.close()
    owner, descriptor = bench.process()
    os.close(descriptor)
    if not alive:
        bench.processes[0].kill()
        bench.processes[0].wait()
    terms = Terms("f00d", owner, 60.0)
    bench.ledger.write(Entry(fake.gpus[0].uuid, 280_000, (200_000, 150_000), terms))
    fake.gpus[0].limit_watts = limit_watts
    node = bench.start()
    assert (node.statuses()[0].state, fake.gpus[0].limit_watts) == (state, limit_after)
    if alive and state is not GuardState.FOREIGN:
        node.set_power_limit("f00d", 160_000)
        node.end("f00d", "ends")
        assert fake.gpus[0].limit_watts == 280


@as_privileged
def test_a_gpu_that_is_missing_at_the_start_is_restored_when_it_responds(fake: FakeNvml, bench: Bench) -> None:
    bench.node.close()
    bench.ledger.write(Entry(fake.gpus[0].uuid, 280_000, (200_000,), bench.exited_terms()))
    fake.gpus[0].limit_watts = 200
    fake.gpus[0].lose()
    node = bench.start()
    assert [view.description.uuid for view in node.statuses()] == [fake.gpus[1].uuid]
    assert any("must still be restored" in problem for problem in node.problems())
    fake.gpus[0].heal()
    eventually(lambda: fake.gpus[0].limit_watts == 280)
    eventually(lambda: node.problems() == [])


def test_an_unreadable_ledger_file_is_reported_until_it_is_deleted(bench: Bench, tmp_path: Path) -> None:
    bench.node.close()
    (tmp_path / "ledger" / f"{bench.fake.gpus[0].uuid}.json").write_text("garbage")
    assert any("is unreadable" in problem for problem in bench.start().problems())
    (tmp_path / "ledger" / f"{bench.fake.gpus[0].uuid}.unreadable").unlink()
    assert not any("is unreadable" in problem for problem in bench.node.problems())


@as_privileged
def test_a_gpu_that_is_lost_at_the_start_is_reported_and_added_when_it_responds(fake: FakeNvml, bench: Bench) -> None:
    bench.node.close()
    fake.gpus[1].lose()
    node = bench.start()
    assert node.problems() == ["GPU 1 did not respond when it was opened."]
    fake.gpus[1].heal()
    eventually(lambda: len(node.statuses()) == 2)
    eventually(lambda: node.problems() == [])
    node.set_power_limit(bench.lease(1), 200_000)
    assert bench.limits() == [300, 200]


@pytest.mark.parametrize("alive", [True, False])
def test_a_lease_without_a_limit_survives_the_agent_like_one_with_a_limit(bench: Bench, *, alive: bool) -> None:
    lease = bench.lease(0, 1, ttl_seconds=30)
    bench.kill()
    if not alive:
        bench.processes[0].kill()
        bench.processes[0].wait()
    bench.timing.deadline_seconds = 5
    node = bench.start()
    assert [bench.state(0), bench.state(1)] == ([GuardState.HELD] * 2 if alive else [GuardState.FREE] * 2)
    assert bool(bench.ledger.read_leases()) is alive
    if alive:
        node.set_power_limit(lease, 200_000)
        assert bench.limits() == [200, 200]
        bench.clock.seconds += 30
        node.reap(0)
        eventually(lambda: bench.limits() == [300, 300])
        assert bench.ledger.read_leases() == []


def test_a_gpu_that_was_missing_when_the_agent_came_back_returns_to_its_lease(bench: Bench) -> None:
    lease = bench.lease(0, 1)
    bench.kill()
    bench.timing.deadline_seconds = 5
    bench.fake.gpus[0].lose()
    node = bench.start()
    assert node.lease(lease).uuids == (bench.fake.gpus[1].uuid,)
    bench.fake.gpus[0].heal()
    eventually(lambda: set(node.lease(lease).uuids) == {gpu.uuid for gpu in bench.fake.gpus})
    node.set_power_limit(lease, 200_000)
    assert bench.limits() == [200, 200]


def test_a_gpu_that_was_missing_until_its_lease_had_ended_is_restored(bench: Bench) -> None:
    lease = bench.lease(0, 1)
    bench.node.set_power_limit(lease, 200_000)
    bench.kill()
    bench.timing.deadline_seconds = 5
    bench.fake.gpus[0].lose()
    bench.start().end(lease, "ends")
    bench.fake.gpus[0].heal()
    eventually(lambda: bench.limits() == [300, 300])
    eventually(lambda: bench.state(0) is GuardState.FREE)
