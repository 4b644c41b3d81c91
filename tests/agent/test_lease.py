"""Leases in time that the tests drive."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rheostat.agent.lease import Lease, Leases, holder
from rheostat.agent.ledger import Ledger
from rheostat.agent.records import LeaseRecord, Owner, Terms
from rheostat.errors import GpuHeld, LeaseNotFound
from tests.agent.bench import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    return Leases(Ledger(tmp_path))


@pytest.fixture
def lease(clock: Clock) -> Lease:
    return Lease(Terms("f00d", Owner(42, 1, 0), 60.0, "nightly", "t1"), ("GPU-1", "GPU-2"), 0, clock)


def test_a_lease_expires_when_it_is_not_renewed_for_its_term(leases: Leases, lease: Lease, clock: Clock) -> None:
    leases.add(lease)
    clock.seconds += 59
    assert leases.expired() == []
    lease.renew()
    clock.seconds += 59
    assert leases.expired() == []
    clock.seconds += 1
    assert leases.expired() == ["f00d"]


def test_its_expiry_is_shown_in_wall_clock_time(lease: Lease, clock: Clock) -> None:
    clock.seconds += 20
    assert lease.expiry - datetime.now(UTC) == pytest.approx(timedelta(seconds=40), abs=timedelta(seconds=1))


@pytest.mark.parametrize(("ttl_seconds", "heartbeat_seconds"), [(3600, 15), (60, 15), (20, 5), (1, 0.25)])
def test_it_is_to_be_renewed_four_times_per_term_and_at_least_every_15_seconds(
    ttl_seconds: float, heartbeat_seconds: float
) -> None:
    grant = Lease(Terms("f00d", Owner(42, 1, 0), ttl_seconds), ("GPU-1",), 0).to_wire()
    assert (grant.gpus, grant.ttl_seconds, grant.heartbeat_seconds) == (["GPU-1"], ttl_seconds, heartbeat_seconds)


def test_a_gpu_has_one_lease(leases: Leases, lease: Lease, clock: Clock) -> None:
    leases.add(lease)
    other = Lease(Terms("beef", Owner(43, 1, 0), 60.0), ("GPU-3", "GPU-2"), 0, clock)
    with pytest.raises(GpuHeld, match=r"held by process 42 of user root, job nightly, trial t1 until \d\d:\d\d"):
        leases.add(other)
    assert (leases.of("GPU-2"), leases.of("GPU-3"), leases.all()) == (lease, None, (lease,))
    assert leases.remove("f00d") is lease
    leases.add(other)


def test_only_one_caller_removes_a_lease(leases: Leases, lease: Lease) -> None:
    leases.add(lease)
    assert (leases.remove("f00d"), leases.remove("f00d"), leases.of("GPU-1")) == (lease, None, None)
    with pytest.raises(LeaseNotFound, match="no lease f00d"):
        leases.get("f00d")


def test_a_gpu_that_was_missing_joins_its_lease(leases: Leases, lease: Lease) -> None:
    leases.add(lease)
    leases.join("f00d", "GPU-3")
    assert (lease.uuids, leases.of("GPU-3")) == (("GPU-1", "GPU-2", "GPU-3"), lease)
    with pytest.raises(LeaseNotFound):
        leases.join("beef", "GPU-3")


def test_a_holder_without_a_job_is_named_by_its_process() -> None:
    assert re.fullmatch(r"process 42 of user root", holder(Terms("f00d", Owner(42, 1, 0), 60.0)))


def test_the_record_of_a_lease_goes_when_it_ends_even_while_it_is_being_written(
    leases: Leases, lease: Lease, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path)
    leases.add(lease)
    leases.record(lease)
    assert ledger.read_leases() == [LeaseRecord(lease.uuids, lease.terms)]
    leases.remove("f00d")
    assert ledger.read_leases() == []
    leases.record(lease)
    assert ledger.read_leases() == []
