"""Reports of trials: each is kept once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select

from rheostat import service as use_cases
from rheostat.errors import InvalidInput, ReportContradicts, TrialNotFound
from rheostat.service import Service
from rheostat.storage.tables import observations
from tests.domain.examples import JOB
from tests.service.examples import converge, done, predict, register, report, restarted


def _runs(service: Service, batch_size: int) -> int:
    """Return how many results the policy has learned of a batch size."""
    arms = use_cases.estimates(service, JOB).placements[0].arms
    return next(arm.runs for arm in arms if arm.batch_size == batch_size)


def _reports(service: Service) -> int:
    """Return how many reports are stored."""
    query = select(func.count()).select_from(observations)
    return service.database.read(lambda connection: int(connection.execute(query).scalar_one()))


def test_a_trial_goes_on_until_it_reaches_its_target(service: Service) -> None:
    register(service)
    trial = predict(service)
    first = report(service, trial, 1, metric=0.5, energy_joules=100.0, time_seconds=1.0)
    last = report(service, trial, 2, metric=0.9, energy_joules=200.0, time_seconds=2.0)
    assert (first.state, first.action) == ("running", "continue")
    assert (last.state, last.action) == ("converged", "stop")
    detail = use_cases.get_trial(service, trial.trial_id)
    assert (detail.epochs, detail.metric, detail.energy_joules, detail.time_seconds) == (2, 0.9, 200.0, 2.0)
    assert detail.ended_at is not None


def test_sixteen_simultaneous_reports_are_one_conclusion(service: Service) -> None:
    register(service)
    trial = predict(service)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: converge(service, trial, 100.0), range(16)))
    assert all(answer == answers[0] for answer in answers)
    assert _runs(service, 32) == 1
    assert _reports(service) == 1


def test_a_report_after_the_end_is_kept_and_answered_with_the_end(service: Service) -> None:
    register(service)
    trial = predict(service)
    converge(service, trial, 100.0)
    late = report(service, trial, 2, metric=0.2, energy_joules=200.0)
    assert (late.state, late.action) == ("converged", "stop")
    assert done(use_cases.heartbeat(service, trial.trial_id)).state == "converged"
    assert _runs(service, 32) == 1
    assert _reports(service) == 2


def test_an_unknown_trial_is_not_found(service: Service) -> None:
    register(service)
    with pytest.raises(TrialNotFound):
        use_cases.get_trial(service, "0" * 32)
    with pytest.raises(TrialNotFound):
        done(use_cases.heartbeat(service, "0" * 32))


def test_a_report_after_the_end_may_be_repeated_and_must_fit_the_others(service: Service) -> None:
    register(service)
    trial = predict(service)
    converge(service, trial, 100.0)
    late = {"metric": 0.96, "energy_joules": 200.0, "time_seconds": 2.0}
    assert len({report(service, trial, 2, **late).reason for _ in range(3)}) == 1
    assert _reports(service) == 2
    with pytest.raises(ReportContradicts, match="metric"):
        report(service, trial, 2, **late | {"metric": 0.97})
    with pytest.raises(InvalidInput, match="total"):
        report(service, trial, 3, **late | {"energy_joules": 150.0})


def test_trials_are_listed_newest_first_page_by_page(service: Service) -> None:
    register(service)
    for _ in range(5):
        converge(service, predict(service), 100.0)
    running = predict(service)
    first = use_cases.list_trials(service, JOB, state=None, cursor=None, limit=4)
    assert first.trials[0].trial_id == running.trial_id
    assert first.next_cursor is not None
    second = use_cases.list_trials(service, JOB, state=None, cursor=int(first.next_cursor), limit=4)
    assert [trial.number for trial in (*first.trials, *second.trials)] == [6, 5, 4, 3, 2, 1]
    assert second.next_cursor is None
    assert len(use_cases.list_trials(service, JOB, state="converged", cursor=None, limit=10).trials) == 5


def test_what_was_estimated_is_stored_and_replaced_by_the_figure_that_arrives(service: Service) -> None:
    register(service, batch_sizes=[32], beta_knob=None)
    converge(service, predict(service), 200.0, 1.0)
    trial = predict(service)
    report(service, trial, 1, metric=0.1, energy_joules=90.0, time_seconds=1.0, energy_known_from_seconds=0.1)
    report(service, trial, 2, metric=0.1, time_seconds=3.0)
    shown = use_cases.get_trial(restarted(service), trial.trial_id)
    assert shown.energy_joules == 0.1 * 100.0 + 90.0 + 2.0 * 200.0
    assert shown.energy_is_estimated
    before = use_cases.savings(restarted(service), JOB).placements[0]
    assert before.energy_is_estimated
    assert before.energy_known_share == pytest.approx(1.9 / 4.0)
    report(restarted(service), trial, 3, metric=0.95, energy_joules=500.0, time_seconds=4.0)
    shown = use_cases.get_trial(restarted(service), trial.trial_id)
    assert (shown.energy_joules, shown.energy_is_estimated, shown.energy_estimate) == (500.0, False, None)
    after = use_cases.savings(restarted(service), JOB).placements[0]
    assert (after.energy_is_estimated, after.energy_known_share, after.energy_joules.actual) == (False, 1.0, 700.0)


def test_a_repeated_report_must_count_its_energy_from_the_same_moment(service: Service) -> None:
    register(service)
    trial = predict(service)
    figures = {"metric": 0.1, "energy_joules": 90.0, "time_seconds": 1.0}
    first = report(service, trial, 1, energy_known_from_seconds=0.1, **figures)
    assert report(restarted(service), trial, 1, energy_known_from_seconds=0.1, **figures) == first
    with pytest.raises(ReportContradicts, match="energy_known_from_seconds"):
        report(restarted(service), trial, 1, **figures)


def test_trials_are_found_by_their_tags(service: Service) -> None:
    register(service)
    tags = {"mlflow_run": "https://mlflow.test/runs/7?a=b", "group.of/runs": 'it\'s "7" \\ %'}
    tagged, other, _ = predict(service, tags=tags), predict(service, tags={"mlflow_run": "8"}), predict(service)
    assert use_cases.get_trial(service, tagged.trial_id).tags == tags

    def found(tag: str, **options: Any) -> list[str]:
        wanted = {"state": None, "cursor": None, "limit": 50} | options
        return [trial.trial_id for trial in use_cases.list_trials(service, JOB, tag=tag, **wanted).trials]

    for key, value in tags.items():
        assert found(f"{key}={value}") == [tagged.trial_id]
    assert found("mlflow_run") == [other.trial_id, tagged.trial_id]
    assert found("mlflow_run", limit=1, cursor=2) == [tagged.trial_id]
    assert found("mlflow_run", state="converged") == []
    assert found("mlflow_run=7") == found("group") == []


def test_a_run_that_is_started_again_has_its_latest_tags(service: Service) -> None:
    register(service)
    first = predict(service, key="night", tags={"mlflow_run": "1"})
    for tags, kept in (({"mlflow_run": "2"}, "2"), ({"mlflow_run": "2"}, "2"), ({}, "2"), ({"mlflow_run": "3"}, "3")):
        assert predict(service, key="night", tags=tags).trial_id == first.trial_id
        assert use_cases.get_trial(service, first.trial_id).tags == {"mlflow_run": kept}
