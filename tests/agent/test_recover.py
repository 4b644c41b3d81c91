"""Limits are restored without a daemon."""

from pathlib import Path

import pytest

from rheostat.agent.ledger import Ledger
from rheostat.agent.nvml import NvmlDriver
from rheostat.agent.records import Entry, Terms
from rheostat.agent.recover import recover
from rheostat.agent.site import Site
from rheostat.agent.status import GpuStatus
from rheostat.errors import ConfigurationError, DriverReloaded, GpuUnavailable
from tests.agent.bench import Bench
from tests.nvml.fake import GPU_IS_LOST, UNKNOWN, Call
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture
def left(bench: Bench) -> Bench:
    """A node whose agent has ended, with a limit of 200 W on the first GPU where 280 W were found."""
    bench.node.close()
    _write(bench, bench.exited_terms())
    return bench


def _write(bench: Bench, terms: Terms) -> None:
    bench.ledger.write(Entry(bench.fake.gpus[0].uuid, 280_000, (200_000,), terms))
    bench.fake.gpus[0].limit_watts = 200


def run(bench: Bench, *, keep_alive: bool = True, wait_seconds: float = 10) -> list[GpuStatus]:
    return recover(NvmlDriver(), bench.ledger, bench.site, keep_alive=keep_alive, wait_seconds=wait_seconds)


def test_the_limit_of_a_process_that_has_exited_is_restored(left: Bench) -> None:
    assert run(left) == []
    assert (left.limits(), left.ledger.read()) == ([280, 300], {})


def test_the_limit_of_a_process_that_is_alive_is_kept_or_restored_as_asked(left: Bench) -> None:
    owner, _ = left.process()
    _write(left, Terms("f00d", owner, 60.0))
    (status,) = run(left)
    assert (status.terms, left.limits()) == (Terms("f00d", owner, 60.0), [200, 300])
    assert run(left, keep_alive=False) == []
    assert left.limits() == [280, 300]


def test_a_restore_that_waits_for_a_slow_driver_is_waited_for(left: Bench) -> None:
    owner, _ = left.process()
    _write(left, Terms("f00d", owner, 60.0))
    left.fake.gpus[0].slow(Call.GET_LIMIT, 2.5)
    assert run(left, keep_alive=False, wait_seconds=PATIENCE_SECONDS) == []
    assert (left.limits(), left.ledger.read()) == ([280, 300], {})


def test_a_foreign_limit_is_kept(left: Bench) -> None:
    left.fake.gpus[0].limit_watts = 220
    assert run(left) == []
    assert (left.limits(), left.ledger.read()) == ([220, 300], {})


def test_a_restore_that_fails_is_retried(left: Bench) -> None:
    left.fake.gpus[0].fail(Call.SET_LIMIT, UNKNOWN, times=2)
    assert run(left) == []
    assert left.limits() == [280, 300]


def test_a_gpu_that_cannot_be_restored_in_time_is_returned(left: Bench) -> None:
    left.fake.gpus[0].fail(Call.SET_LIMIT, UNKNOWN)
    (status,) = run(left, wait_seconds=0.1)
    assert (status.uuid, status.terms, status.state) == (left.fake.gpus[0].uuid, None, "restore_failed")


def test_a_gpu_that_is_missing_is_an_error_until_it_responds(left: Bench) -> None:
    left.fake.gpus[0].lose(GPU_IS_LOST)
    with pytest.raises(GpuUnavailable, match=f"GPU {left.fake.gpus[0].uuid}, whose limit must be restored, is missing"):
        run(left, wait_seconds=0.1)
    left.fake.gpus[0].heal()
    assert run(left) == []
    assert left.limits() == [280, 300]


def test_a_reloaded_driver_is_an_error(left: Bench) -> None:
    left.fake.reload_driver()
    with pytest.raises(DriverReloaded):
        run(left)


def test_it_is_refused_while_an_agent_is_running(left: Bench) -> None:
    with left.ledger.locked(), pytest.raises(ConfigurationError, match="Another agent is running"):
        run(left)


def test_without_entries_the_driver_is_not_even_opened(bench: Bench, tmp_path: Path) -> None:
    bench.fake.reload_driver()
    assert recover(NvmlDriver(), Ledger(tmp_path / "none"), Site(), keep_alive=True) == []


def test_leases_without_a_limit_need_no_driver(bench: Bench) -> None:
    bench.lease(0)
    bench.lease(1)
    bench.kill()
    bench.processes[0].kill()
    bench.processes[0].wait()
    bench.fake.reload_driver()
    assert run(bench) == []
    (kept,) = bench.ledger.read_leases()
    assert kept.terms.owner.pid == bench.processes[1].pid
    assert run(bench, keep_alive=False) == []
    assert bench.ledger.read_leases() == []
