"""Leases and limits on two GPUs, through the real pynvml over the fake, in this process."""

import os
from time import sleep

import pytest

from rheostat.agent.ledger import Ledger
from rheostat.agent.records import Entry, LeaseRecord, Owner
from rheostat.agent.states import GuardState
from rheostat.errors import (
    AgentError,
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
from tests.agent.agents import as_privileged
from tests.agent.bench import CHECK_SECONDS, Bench
from tests.nvml.fake import GPU_IS_LOST, NO_PERMISSION, UNKNOWN, Call, FakeNvml
from tests.waiting import Stopwatch, eventually


def test_a_limit_is_set_recorded_read_back_and_restored(bench: Bench) -> None:
    bench.fake.gpus[0].limit_watts = 250.125
    lease = bench.lease()
    assert bench.state() is GuardState.HELD
    (applied,) = bench.node.set_power_limit(lease, 175_000)
    assert (applied.applied_watts, applied.enforced_watts) == (175, 175)
    assert (applied.found_watts, applied.limited_by) == (250.125, None)
    assert bench.state() is GuardState.VERIFIED
    assert bench.ledger.read()[bench.fake.gpus[0].uuid].found_milliwatts == 250_125
    bench.node.set_power_limit(lease, 150_000)
    bench.node.end(lease, "ends")
    assert bench.limits() == [250.125, 300]
    assert bench.state() is GuardState.FREE
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


def test_nothing_is_changed_that_could_not_be_recorded_first(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_ledger: Ledger, _entry: Entry) -> None:
        raise LedgerFailed("full")

    monkeypatch.setattr(Ledger, "write", full)
    with pytest.raises(LedgerFailed):
        bench.node.set_power_limit(bench.lease(), 200_000)
    assert bench.fake.gpus[0].sets_watts() == []


def test_a_lease_may_return_to_the_limit_found_and_still_distinguishes_it_from_a_foreign_one(bench: Bench) -> None:
    bench.fake.gpus[0].limit_watts = 250
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    bench.node.set_power_limit(lease, 300_000)
    bench.wait_checks()
    assert (bench.limits()[0], bench.state()) == (250, GuardState.VERIFIED)
    bench.node.set_power_limit(lease, 200_000)
    bench.fake.gpus[0].limit_watts = 250
    eventually(lambda: bench.state() is GuardState.FOREIGN)
    assert bench.fake.gpus[0].sets_watts() == [200, 250, 200]


def test_a_limit_above_the_one_found_or_the_sites_maximum_is_reduced(bench: Bench) -> None:
    bench.fake.gpus[0].limit_watts = 250
    applied = bench.node.set_power_limit(bench.lease(0, 1), 300_000)
    assert [(one.applied_watts, one.limited_by) for one in applied] == [(250, "found"), (280, "site")]


def test_a_gpu_has_one_lease_and_the_error_names_its_holder(bench: Bench) -> None:
    bench.lease()
    with pytest.raises(GpuHeld, match=rf"process {bench.processes[0].pid} of user \S+, job nightly"):
        bench.lease(1, 0)
    bench.lease(1)


def test_unknown_gpus_and_leases_are_refused(bench: Bench) -> None:
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
    assert [bench.state(0), bench.state(1)] == [GuardState.VERIFIED, GuardState.VERIFIED]


def test_the_limits_found_come_back_while_the_lease_goes_on(bench: Bench) -> None:
    bench.fake.gpus[1].limit_watts = 250
    lease = bench.lease(0, 1)
    bench.node.set_power_limit(lease, 200_000)
    bench.node.restore_power_limits(lease)
    assert bench.limits() == [300, 250]
    assert bench.ledger.read() == {}
    assert [bench.state(0), bench.state(1)] == [GuardState.HELD, GuardState.HELD]


def test_a_lost_gpu_is_not_said_to_be_restored(bench: Bench) -> None:
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    bench.fake.gpus[0].lose(GPU_IS_LOST)
    eventually(lambda: bench.state() is GuardState.SUSPENDED)
    with pytest.raises(GpuUnavailable, match="suspended"):
        bench.node.restore_power_limits(lease)
    bench.fake.gpus[0].heal()
    eventually(lambda: bench.state() is GuardState.VERIFIED)
    bench.node.restore_power_limits(lease)
    assert bench.limits() == [300, 300]


def test_a_hung_gpu_blocks_no_other_and_gets_its_previous_limit_back_when_it_responds(bench: Bench) -> None:
    lease, other = bench.lease(0), bench.lease(1)
    bench.node.set_power_limit(lease, 200_000)
    bench.fake.gpus[0].hang(Call.SET_LIMIT)
    bench.timing.deadline_seconds = 0.1
    with pytest.raises(GpuUnavailable, match="does not respond"):
        bench.node.set_power_limit(lease, 150_000)
    bench.timing.deadline_seconds = 5
    watch = Stopwatch()
    bench.node.set_power_limit(other, 180_000)
    assert watch.seconds() < 0.5
    bench.fake.gpus[0].hang(Call.SET_LIMIT, hangs=False)
    eventually(lambda: bench.limits() == [200, 180])
    bench.node.end(lease, "ends")
    assert bench.limits() == [300, 180]


def test_a_foreign_limit_is_reported_and_kept(bench: Bench) -> None:
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    bench.fake.gpus[0].limit_watts = 220
    eventually(lambda: bench.state() is GuardState.FOREIGN)
    with pytest.raises(ForeignPowerLimit, match="220 W"):
        bench.node.set_power_limit(lease, 150_000)
    bench.node.end(lease, "ends")
    assert bench.limits() == [220, 300]
    assert bench.node.statuses()[0].foreign_changes == 1
    assert bench.ledger.read() == {}
    bench.node.set_power_limit(bench.lease(), 150_000)
    assert bench.node.statuses()[0].found_milliwatts == 220_000


def test_a_foreign_limit_right_before_a_change_is_seen(bench: Bench) -> None:
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    bench.fake.gpus[0].limit_watts = 220
    with pytest.raises(ForeignPowerLimit):
        bench.node.set_power_limit(lease, 150_000)
    assert bench.fake.gpus[0].sets_watts() == [200]


def test_a_failed_restore_is_retried_until_it_succeeds(bench: Bench) -> None:
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    bench.fake.gpus[0].fail(Call.SET_LIMIT, UNKNOWN, times=3)
    bench.node.end(lease, "ends")
    assert bench.state() is GuardState.RESTORE_FAILED
    assert bench.node.problems()
    with pytest.raises(GpuUnavailable, match="restore_failed"):
        bench.lease()
    eventually(lambda: bench.state() is GuardState.FREE)
    assert bench.limits() == [300, 300]


def test_a_lost_gpu_is_suspended_and_restored_when_it_is_back(bench: Bench) -> None:
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    bench.fake.gpus[0].lose(GPU_IS_LOST)
    eventually(lambda: bench.state() is GuardState.SUSPENDED)
    bench.node.end(lease, "ends")
    assert bench.limits() == [200, 300]
    bench.fake.gpus[0].heal()
    eventually(lambda: bench.state() is GuardState.FREE)
    assert bench.limits() == [300, 300]


@as_privileged
def test_without_permission_nothing_changes_and_the_node_is_not_ready(bench: Bench) -> None:
    lease = bench.lease()
    bench.fake.gpus[0].fail(Call.SET_LIMIT, NO_PERMISSION)
    with pytest.raises(GpuReadOnly):
        bench.node.set_power_limit(lease, 200_000)
    assert any("does not permit changing the power limit" in problem for problem in bench.node.problems())
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
def test_quiesced_gpus_are_restored_and_not_used_until_resume(bench: Bench) -> None:
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    bench.node.quiesce()
    assert bench.limits() == [300, 300]
    calls = list(bench.fake.gpus[0].state.calls)
    sleep(5 * CHECK_SECONDS)
    assert list(bench.fake.gpus[0].state.calls) == calls
    with pytest.raises(AgentError):
        bench.node.set_power_limit(lease, 180_000)
    bench.fake.gpus[0].limit_watts = 290
    bench.node.resume()
    assert bench.node.problems() == []
    assert bench.node.set_power_limit(lease, 180_000)[0].found_watts == 290


def test_quiesce_works_while_a_gpu_hangs(bench: Bench) -> None:
    lease = bench.lease()
    bench.node.set_power_limit(lease, 200_000)
    bench.fake.gpus[0].hang(Call.GET_LIMIT)
    bench.timing.deadline_seconds = 0.1
    bench.node.quiesce()
    bench.timing.deadline_seconds = 5
    calls = bench.fake.gpus[0].state.calls[Call.GET_LIMIT]
    bench.fake.gpus[0].hang(Call.GET_LIMIT, hangs=False)
    sleep(5 * CHECK_SECONDS)
    assert (bench.reloads, bench.fake.gpus[0].state.calls[Call.GET_LIMIT] - calls) == ([], 0)
    bench.node.resume()
    eventually(lambda: bench.state() is GuardState.VERIFIED)
    bench.node.end(lease, "ends")
    assert bench.limits() == [300, 300]


def test_a_lease_that_is_not_renewed_expires(bench: Bench) -> None:
    lease = bench.lease(ttl_seconds=60)
    bench.node.set_power_limit(lease, 200_000)
    bench.clock.seconds += 59
    bench.node.reap(0)
    assert bench.limits() == [200, 300]
    bench.clock.seconds += 1
    bench.node.reap(0)
    eventually(lambda: bench.limits() == [300, 300])
    with pytest.raises(LeaseNotFound):
        bench.node.lease(lease)


def test_the_exit_of_its_owner_ends_a_lease_at_once(bench: Bench) -> None:
    bench.node.set_power_limit(bench.lease(), 200_000)
    bench.processes[0].kill()
    watch = Stopwatch()
    bench.node.reap(5)
    assert watch.seconds() < 0.5
    eventually(lambda: bench.limits() == [300, 300])


def test_quiesce_keeps_a_foreign_limit_even_if_its_ledger_entry_could_not_be_removed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_ledger: Ledger, _uuid: str) -> None:
        raise LedgerFailed("full")

    bench.node.set_power_limit(bench.lease(), 200_000)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "remove", full)
        bench.fake.gpus[0].limit_watts = 220
        eventually(lambda: bench.state() is GuardState.FOREIGN)
        bench.node.quiesce()
    bench.node.resume()
    eventually(lambda: bench.ledger.read() == {})
    assert bench.limits() == [220, 300]


def test_a_lease_that_cannot_be_recorded_is_good_while_the_agent_runs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_ledger: Ledger, _lease: LeaseRecord) -> None:
        raise LedgerFailed("full")

    monkeypatch.setattr(Ledger, "write_lease", full)
    bench.node.end(bench.lease(), "ends")
    assert bench.state() is GuardState.FREE


def test_the_hung_gpu_of_one_lease_holds_up_no_other_lease(bench: Bench) -> None:
    hung, other = bench.lease(0, ttl_seconds=20), bench.lease(1, ttl_seconds=40)
    bench.node.set_power_limit(hung, 200_000)
    bench.node.set_power_limit(other, 180_000)
    bench.fake.gpus[0].hang(Call.GET_LIMIT)
    eventually(lambda: bench.node.is_hung(bench.fake.gpus[0].uuid))
    bench.clock.seconds += 20
    watch = Stopwatch()
    bench.node.reap(0)
    bench.node.lease(other).renew()
    assert bench.node.to_wire([bench.fake.gpus[1].uuid])[0].answers
    bench.processes[1].kill()
    bench.node.reap(1)
    eventually(lambda: bench.limits()[1] == 300)
    assert watch.seconds() < 2  # a hung GPU is waited for 5 s
    bench.fake.gpus[0].hang(Call.GET_LIMIT, hangs=False)
    eventually(lambda: bench.limits() == [300, 300])
