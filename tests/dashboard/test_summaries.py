"""What the list of jobs keeps of each: in few statements, whatever fails of one job, and no older than it says."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, update

from rheostat.dashboard.summaries import AT_ONCE, Summaries
from rheostat.dashboard.views.savings import total
from rheostat.errors import DatabaseBusy
from rheostat.service import Service, review
from rheostat.storage.tables import jobs, placements, policy_states
from tests.domain.examples import JOB, LEASE, Clock
from tests.service.examples import converge, predict, register, report, restarted


class Seconds:
    """A monotonic clock that a test drives: it goes on by a step whenever it is read."""

    def __init__(self, step: float = 0.0) -> None:
        self.time = 0.0
        self.step = step

    def __call__(self) -> float:
        self.time += self.step
        return self.time


def every(job_ids: list[str]) -> list[str]:
    return job_ids


@contextmanager
def statements(service: Service) -> Iterator[list[str]]:
    """Count what the service reads meanwhile."""
    seen: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        seen.append(statement)

    reader = service.database._reader
    event.listen(reader, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(reader, "before_cursor_execute", note)


def spoil(service: Service, job_id: str, state: Any) -> None:
    """Write a state of a job's runs that no release wrote."""
    its = jobs.c.job_id == job_id
    mine = placements.c.job_pk == jobs.c.job_pk
    service.database.write(
        lambda connection: connection.execute(
            update(policy_states)
            .where(
                policy_states.c.part == "totals", policy_states.c.placement_pk == placements.c.placement_pk, mine, its
            )
            .values(state=state)
        )
    )


def test_many_jobs_take_as_many_statements_as_one(service: Service) -> None:
    for number in range(AT_ONCE):
        register(service, f"job-{number:02}")
    with statements(service) as of_one:
        review.job_summaries(service, ["job-00"])
    with statements(service) as of_all:
        overview = Summaries().overview(service, every)
    assert overview.shown == AT_ONCE
    assert len(of_all) == len(of_one) + 1  # which jobs there are


def test_what_has_not_changed_is_not_read_again(service: Service) -> None:
    register(service)
    kept = Summaries()
    first = kept.overview(service, every)
    with statements(service) as seen:
        second = kept.overview(service, every)
    assert second is first
    assert len(seen) == 1


def test_an_overview_says_how_many_jobs_it_is_of(service: Service) -> None:
    for number in range(2 * AT_ONCE):
        register(service, f"job-{number:02}")
    kept = Summaries(budget_seconds=1.0, clock=Seconds(step=1.0))
    last = f"job-{2 * AT_ONCE - 1:02}"
    first = kept.overview(service, lambda job_ids: job_ids[-1:])
    assert (first.shown, first.missing, last in first.summaries) == (AT_ONCE, AT_ONCE, True)
    second = kept.overview(service, every)
    assert (second.shown, second.missing) == (2 * AT_ONCE, 0)


def test_a_job_that_has_changed_is_read_again_after_a_while_and_its_age_is_known(service: Service) -> None:
    register(service)
    seconds = Seconds()
    kept = Summaries(lifetime_seconds=5.0, clock=seconds)
    assert kept.age_seconds(kept.overview(service, every)) == 0.0
    predict(service)
    seconds.time = 4.0
    old = kept.overview(service, every)
    assert (old.summaries[JOB].latest, kept.age_seconds(old)) == (None, 4.0)
    seconds.time = 5.0
    new = kept.overview(service, every)
    assert new.summaries[JOB].latest is not None
    assert kept.age_seconds(new) == 0.0


def test_a_run_whose_lease_has_run_out_is_shown_as_abandoned_though_nothing_is_written(
    service: Service, clock: Clock
) -> None:
    register(service)
    predict(service)
    seconds = Seconds()
    kept = Summaries(recheck_seconds=30.0, clock=seconds)
    states = []
    for seconds.time in (0.0, 29.0, 30.0):
        latest = kept.overview(service, every).summaries[JOB].latest
        assert latest is not None
        states.append(latest.state)
        clock.turn(LEASE)
    assert states == ["running", "running", "abandoned"]


@pytest.mark.parametrize("state", [{"no figures": [1]}, "nothing"])
def test_a_job_that_cannot_be_read_leaves_the_others(service: Service, state: Any) -> None:
    for job_id in ("bad", JOB):
        register(service, job_id)
    converge(service, predict(service), 100.0)
    spoil(service, JOB, state)
    overview = Summaries().overview(restarted(service), every)
    assert [*overview.summaries] == ["bad"]
    assert "see the server's log" in overview.unreadable[JOB].reason


def test_settings_that_cannot_be_read_leave_the_others(service: Service) -> None:
    for job_id in ("a", "bad", "c"):
        register(service, job_id)
    bad = update(jobs).where(jobs.c.job_id == "bad").values(settings={"batch_sizes": "many"})
    service.database.write(lambda connection: connection.execute(bad))
    overview = Summaries().overview(service, every)
    assert [*overview.summaries] == ["a", "c"]
    assert [*overview.unreadable] == ["bad"]


def test_a_busy_database_leaves_what_is_known(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    register(service, "known")
    seconds = Seconds()
    kept = Summaries(lifetime_seconds=0.0, clock=seconds)
    kept.overview(service, every)
    register(service, "new")

    def busy(*_: Any) -> None:
        raise DatabaseBusy("Timed out waiting for a database lock.")

    with monkeypatch.context() as patched:
        patched.setattr(review, "job_summaries", busy)
        overview = kept.overview(service, every)
    assert [*overview.summaries] == ["known"]
    assert overview.unreadable["new"].reason == "Timed out waiting for a database lock."
    seconds.time = 30.0
    assert [*kept.overview(service, every).summaries] == ["known", "new"]


def test_what_days_saved_adds_up_where_some_runs_reported_no_energy(service: Service, clock: Clock) -> None:
    register(service)
    for joules in (100.0, 120.0):
        converge(service, predict(service), joules)
        clock.turn(timedelta(days=1))
    for epoch in (1, 2):
        report(service, predict(service), epoch, metric=0.95, time_seconds=3.0)
    overview = Summaries().overview(service, every)
    energy = total([placement.energy_joules for placement in overview.summaries[JOB].report.placements])
    assert energy is not None
    assert energy.actual > 220.0  # with the estimate of what was not reported
    assert sum(overview.saved_joules.values()) == pytest.approx(energy.saved, abs=1e-6)
    assert len(overview.saved_joules) == 3
