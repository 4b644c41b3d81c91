"""Leases and limits on two GPUs, through the real pynvml over the fake, in this process."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from rheostat.agent.ledger import Entry, Ledger, Owner, Terms
from rheostat.agent.node import Node
from rheostat.agent.nvml import NvmlDriver
from rheostat.agent.peer import Peer, open_owner
from rheostat.agent.site import Site
from rheostat.agent.states import State
from rheostat.errors import (
    AgentError,
    DriverReloaded,
    ForeignPowerLimit,
    GpuCallFailed,
    GpuHeld,
    GpuNotFound,
    GpuReadOnly,
    GpuUnavailable,
    GpuUnsupported,
    LeaseNotFound,
    LedgerFailed,
)
from tests.agent.agents import as_privileged, eventually
from tests.nvml.fake import GPU_IS_LOST, NO_PERMISSION, UNKNOWN, Call, FakeNvml


class Bench:
    """A node and what a test needs around it."""

    def __init__(self, fake: FakeNvml, directory: Path, site: Site) -> None:
        self.fake = fake
        self.ledger = Ledger(directory)
        with self.ledger.locked():
            pass
        self.reloads: list[DriverReloaded] = []
        self.site = site
        self.processes: list[subprocess.Popen[bytes]] = []
        self.node = self.start()

    def start(self) -> Node:
        self.node = Node(NvmlDriver(), self.ledger, self.site, self.reloads.append, deadline_seconds=1)
        self.node.start()
        return self.node

    def lease(self, *gpus: int, ttl_seconds: float = 60) -> str:
        """Give GPUs to a process that lives until the test ends it."""
        process = subprocess.Popen(["sleep", "60"])
        self.processes.append(process)
        owner, descriptor = open_owner(None, Peer(process.pid, os.getuid(), frozenset()), None)
        uuids = [self.fake.gpus[index].uuid for index in gpus or (0,)]
        lease = self.node.grant(uuids, owner, descriptor, ttl_seconds=ttl_seconds, job_id="nightly", trial_id=None)
        return lease.terms.lease_id

    def state(self, gpu: int = 0) -> State:
        return self.node.views()[gpu].state

    def limits(self) -> list[float]:
        return [gpu.limit_watts for gpu in self.fake.gpus]


@pytest.fixture
def site() -> Site:
    return Site.model_validate({"limits": {"max_watts": 280.0}})


@pytest.fixture
def bench(fake: FakeNvml, tmp_path: Path, site: Site) -> Iterator[Bench]:
    bench = Bench(fake, tmp_path / "ledger", site)
    yield bench
    for gpu in fake.gpus:
        gpu.heal()
    fake.world.driver_reloaded = 0
    bench.node.close()
    for process in bench.processes:
        process.kill()
        process.wait()


def test_a_limit_is_set_noted_read_back_and_put_back(bench: Bench) -> None:
    bench.fake.gpus[0].limit_watts = 250.125
    lease = bench.lease()
    assert bench.state() is State.HELD
    (applied,) = bench.node.set_power_limit(lease, 175_000)
    assert (applied.applied_milliwatts, applied.enforced_milliwatts) == (175_000, 175_000)
    assert (applied.found_milliwatts, applied.limited_by) == (250_125, None)
    assert bench.state() is State.VERIFIED
    assert bench.ledger.read()[bench.fake.gpus[0].uuid].found_milliwatts == 250_125
    bench.node.set_power_limit(lease, 150_000)
    bench.node.end(lease, "ends")
    assert bench.limits() == [250.125, 300]
    assert bench.state() is State.FREE
    assert bench.ledger.read() == {}


def test_the_entry_is_on_the_disk_before_the_first_change(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    write = Ledger.write

    def traced(ledger: Ledger, entry: Entry) -> None:
        write(ledger, entry)
        seen.append((*entry.ours_milliwatts, bench.fake.gpus[0].state.limit_mw))

    monkeypatch.setattr(Ledger, "write", traced)
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    bench.node.set_power_limit(lease, 150_000)
    assert seen == [(200_000, 300_000), (200_000, 200_000), (200_000, 150_000, 200_000), (150_000, 150_000)]


def test_nothing_is_changed_that_could_not_be_noted_first(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_ledger: Ledger, _entry: Entry) -> None:
        raise LedgerFailed("full")

    monkeypatch.setattr(Ledger, "write", full)
    with pytest.raises(LedgerFailed):
        bench.node.set_power_limit(bench.lease(), 200_000)
    assert bench.fake.gpus[0].sets_watts() == []


def test_a_lease_may_go_back_up_to_the_limit_found_and_still_knows_it_from_a_foreign_one(bench: Bench) -> None:
    bench.fake.gpus[0].limit_watts = 250
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    bench.node.set_power_limit(lease, 300_000)
    sleep(1.5)
    assert (bench.limits()[0], bench.state()) == (250, State.VERIFIED)
    bench.node.set_power_limit(lease, 200_000)
    bench.fake.gpus[0].limit_watts = 250
    eventually(lambda: bench.state() is State.FOREIGN)
    assert bench.fake.gpus[0].sets_watts() == [200, 250, 200]


def test_a_limit_above_the_one_found_or_the_sites_is_cut(bench: Bench) -> None:
    bench.fake.gpus[0].limit_watts = 250
    applied = bench.node.set_power_limit(bench.lease(0, 1), 300_000)
    assert [(one.applied_milliwatts, one.limited_by) for one in applied] == [(250_000, "found"), (280_000, "site")]


def test_two_leases_cannot_have_one_gpu_and_the_second_is_told_who_has_it(bench: Bench) -> None:
    bench.lease()
    with pytest.raises(GpuHeld, match=rf"process {bench.processes[0].pid} of user \S+, job nightly"):
        bench.lease(1, 0)
    bench.lease(1)


def test_unknown_gpus_and_leases_are_told(bench: Bench) -> None:
    with pytest.raises(GpuNotFound):
        bench.node.grant(["GPU-9"], Owner(1, 1, 1), os.open("/", 0), ttl_seconds=60, job_id=None, trial_id=None)
    with pytest.raises(LeaseNotFound):
        bench.node.set_power_limit("none", 200_000)


def test_all_gpus_get_the_limit_or_none(bench: Bench) -> None:
    lease = bench.lease(0, 1)
    bench.fake.gpus[1].fail(Call.SET_LIMIT, UNKNOWN, times=1)
    with pytest.raises(GpuCallFailed):
        bench.node.set_power_limit(lease, 200_000)
    assert bench.limits() == [300, 300]
    assert bench.ledger.read() == {}
    bench.node.set_power_limit(lease, 200_000)
    bench.fake.gpus[0].fail(Call.SET_LIMIT, UNKNOWN, times=1)
    with pytest.raises(GpuCallFailed):
        bench.node.set_power_limit(lease, 150_000)
    assert bench.limits() == [200, 200]
    assert [bench.state(0), bench.state(1)] == [State.VERIFIED, State.VERIFIED]


def test_a_gpu_that_hangs_stops_no_other_and_gets_its_own_limit_back_when_it_answers(bench: Bench) -> None:
    lease, other = bench.lease(0), bench.lease(1)
    bench.node.set_power_limit(lease, 200_000)
    bench.fake.gpus[0].hang(Call.SET_LIMIT)
    with pytest.raises(GpuUnavailable, match="does not answer"):
        bench.node.set_power_limit(lease, 150_000)
    begin = monotonic()
    bench.node.set_power_limit(other, 180_000)
    assert monotonic() - begin < 0.5
    bench.fake.gpus[0].hang(Call.SET_LIMIT, hangs=False)
    eventually(lambda: bench.limits() == [200, 180])
    bench.node.end(lease, "ends")
    assert bench.limits() == [300, 180]


def test_somebody_elses_limit_is_reported_and_left_alone(bench: Bench) -> None:
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    bench.fake.gpus[0].limit_watts = 220
    eventually(lambda: bench.state() is State.FOREIGN)
    with pytest.raises(ForeignPowerLimit, match="220 W"):
        bench.node.set_power_limit(lease, 150_000)
    bench.node.end(lease, "ends")
    assert bench.limits() == [220, 300]
    assert bench.node.views()[0].foreign_changes == 1
    assert bench.ledger.read() == {}
    bench.node.set_power_limit(bench.lease(), 150_000)
    assert bench.node.views()[0].found_milliwatts == 220_000


def test_a_foreign_limit_right_before_a_change_is_seen(bench: Bench) -> None:
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    bench.fake.gpus[0].limit_watts = 220
    with pytest.raises(ForeignPowerLimit):
        bench.node.set_power_limit(lease, 150_000)
    assert bench.fake.gpus[0].sets_watts() == [200]


def test_a_restore_that_fails_is_tried_until_it_works(bench: Bench) -> None:
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    bench.fake.gpus[0].fail(Call.SET_LIMIT, UNKNOWN, times=3)
    bench.node.end(lease, "ends")
    assert bench.state() is State.RESTORE_FAILED
    assert bench.node.problems()
    with pytest.raises(GpuUnavailable, match="restore_failed"):
        bench.lease()
    eventually(lambda: bench.state() is State.FREE)
    assert bench.limits() == [300, 300]


def test_a_lost_gpu_is_suspended_and_restored_when_it_is_back(bench: Bench) -> None:
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    bench.fake.gpus[0].lose(GPU_IS_LOST)
    eventually(lambda: bench.state() is State.SUSPENDED)
    bench.node.end(lease, "ends")
    assert bench.limits() == [200, 300]
    bench.fake.gpus[0].heal()
    eventually(lambda: bench.state() is State.FREE)
    assert bench.limits() == [300, 300]


@as_privileged
def test_without_permission_nothing_changes_and_the_node_is_not_ready(bench: Bench) -> None:
    lease = bench.lease()
    bench.fake.gpus[0].fail(Call.SET_LIMIT, NO_PERMISSION)
    with pytest.raises(GpuReadOnly):
        bench.node.set_power_limit(lease, 200_000)
    assert any("lets the agent change no power limit" in problem for problem in bench.node.problems())
    bench.fake.gpus[0].heal()
    bench.node.set_power_limit(lease, 200_000)
    assert bench.node.problems() == []


def test_a_partitioned_gpu_is_not_leased(fake: FakeNvml, bench: Bench) -> None:
    fake.gpus[0].state.mig = 1
    bench.node.close()
    bench.start()
    with pytest.raises(GpuUnsupported, match="MIG"):
        bench.lease()


def test_a_reloaded_driver_is_passed_on(bench: Bench) -> None:
    bench.fake.reload_driver()
    eventually(lambda: len(bench.reloads) > 0)


@as_privileged
def test_quiesced_gpus_are_restored_and_not_touched_until_they_are_taken_up_again(bench: Bench) -> None:
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    bench.node.quiesce()
    assert bench.limits() == [300, 300]
    calls = list(bench.fake.gpus[0].state.calls)
    sleep(1.2)
    assert list(bench.fake.gpus[0].state.calls) == calls
    with pytest.raises(AgentError):
        bench.node.set_power_limit(lease, 180_000)
    bench.fake.gpus[0].limit_watts = 290
    bench.node.resume()
    assert bench.node.problems() == []
    assert bench.node.set_power_limit(lease, 180_000)[0].found_milliwatts == 290_000


def test_quiesce_works_while_a_gpu_hangs(bench: Bench) -> None:
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    bench.fake.gpus[0].hang(Call.GET_LIMIT)
    bench.node.quiesce()
    bench.fake.gpus[0].hang(Call.GET_LIMIT, hangs=False)
    sleep(0.1)
    assert bench.reloads == []
    bench.node.resume()
    eventually(lambda: bench.state() is State.VERIFIED)
    bench.node.end(lease, "ends")
    assert bench.limits() == [300, 300]


def test_a_silent_lease_lapses(bench: Bench) -> None:
    lease = bench.lease(ttl_seconds=0.3)
    bench.node.set_power_limit(lease, 200_000)
    end = monotonic() + 5
    while bench.limits() != [300, 300]:
        bench.node.attend(0.05)
        assert monotonic() < end
    with pytest.raises(LeaseNotFound):
        bench.node.lease(lease)


def test_the_death_of_the_owner_ends_its_lease_at_once(bench: Bench) -> None:
    bench.node.set_power_limit(bench.lease(), 200_000)
    bench.processes[0].kill()
    begin = monotonic()
    bench.node.attend(5)
    assert (bench.limits(), monotonic() - begin < 0.5) == ([300, 300], True)


@pytest.mark.parametrize(
    ("limit_watts", "lives", "state", "limit_after"),
    [
        (200, True, State.VERIFIED, 200),
        (200, False, State.FREE, 280),
        (150, False, State.FREE, 280),
        (280, True, State.HELD, 280),
        (280, False, State.FREE, 280),
        (220, True, State.FOREIGN, 220),
        (220, False, State.FREE, 220),
    ],
)
def test_a_new_agent_goes_on_from_what_the_last_one_noted(
    fake: FakeNvml, bench: Bench, *, limit_watts: int, lives: bool, state: State, limit_after: int
) -> None:
    bench.node.close()
    process = subprocess.Popen(["sleep", "60"])
    bench.processes.append(process)
    owner, descriptor = open_owner(None, Peer(process.pid, os.getuid(), frozenset()), None)
    os.close(descriptor)
    if not lives:
        process.kill()
        process.wait()
    terms = Terms("f00d", owner, 60.0)
    bench.ledger.write(Entry(fake.gpus[0].uuid, 280_000, (200_000, 150_000), terms))
    fake.gpus[0].limit_watts = limit_watts
    node = bench.start()
    assert (node.views()[0].state, fake.gpus[0].limit_watts) == (state, limit_after)
    if lives and state is not State.FOREIGN:
        node.set_power_limit("f00d", 160_000)
        node.end("f00d", "ends")
        assert fake.gpus[0].limit_watts == 280


@as_privileged
def test_a_gpu_that_is_not_there_at_the_start_is_restored_when_it_comes(fake: FakeNvml, bench: Bench) -> None:
    bench.node.close()
    terms = Terms("f00d", Owner(2**22, 1, 0), 60.0)
    bench.ledger.write(Entry(fake.gpus[0].uuid, 280_000, (200_000,), terms))
    fake.gpus[0].limit_watts = 200
    fake.gpus[0].lose()
    node = bench.start()
    assert [view.description.uuid for view in node.views()] == [fake.gpus[1].uuid]
    assert any("still to be restored" in problem for problem in node.problems())
    fake.gpus[0].heal()
    eventually(lambda: fake.gpus[0].limit_watts == 280)
    eventually(lambda: node.problems() == [])


def test_a_limit_that_nobody_can_tell_any_more_is_reported_until_somebody_has_seen_to_it(
    bench: Bench, tmp_path: Path
) -> None:
    bench.node.close()
    (tmp_path / "ledger" / f"{bench.fake.gpus[0].uuid}.json").write_text("garbage")
    assert any("cannot be read" in problem for problem in bench.start().problems())
    (tmp_path / "ledger" / f"{bench.fake.gpus[0].uuid}.unreadable").unlink()
    assert not any("cannot be read" in problem for problem in bench.node.problems())


def test_a_foreign_limit_is_left_alone_by_quiesce_though_the_ledger_could_not_forget_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_ledger: Ledger, _uuid: str) -> None:
        raise LedgerFailed("full")

    bench.node.set_power_limit(bench.lease(), 200_000)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "remove", full)
        bench.fake.gpus[0].limit_watts = 220
        eventually(lambda: bench.state() is State.FOREIGN)
        bench.node.quiesce()
    bench.node.resume()
    eventually(lambda: bench.ledger.read() == {})
    assert bench.limits() == [220, 300]


@as_privileged
def test_a_gpu_that_is_lost_at_the_start_is_told_and_taken_up_when_it_answers(fake: FakeNvml, bench: Bench) -> None:
    bench.node.close()
    fake.gpus[1].lose()
    node = bench.start()
    assert node.problems() == ["GPU 1 did not answer when it was looked for."]
    fake.gpus[1].heal()
    eventually(lambda: len(node.views()) == 2)
    eventually(lambda: node.problems() == [])
    node.set_power_limit(bench.lease(1), 200_000)
    assert bench.limits() == [300, 200]
