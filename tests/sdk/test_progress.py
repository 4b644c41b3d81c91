"""How a report of one process becomes one of the whole trial."""

from typing import Any

import pytest

from rheostat.schemas.trials import ObserveRequest, TrialProgress
from rheostat.sdk.progress import Before

REPORT = {"epoch": 7.0, "metric": 0.5, "energy_joules": 100.0, "time_seconds": 1.0}


def added(report: dict[str, Any], energy: float | None, seconds: float | None) -> ObserveRequest:
    before = Before.of(TrialProgress(epoch=6, metric=0.4, energy_joules=energy, time_seconds=seconds), None)
    return before.added_to(ObserveRequest.model_validate(report))


def test_a_run_that_begins_anew_reports_its_own_figures() -> None:
    report = ObserveRequest.model_validate(REPORT)
    assert Before.of(None, None).added_to(report) is report


def test_totals_go_on_from_what_was_reported() -> None:
    report = added(REPORT, 600.0, 6.0)
    assert (report.epoch, report.energy_joules, report.time_seconds) == (7, 700, 7)


@pytest.mark.parametrize("own", [{"energy_joules": None}, {"time_seconds": None}, {"energy_known_from_seconds": 0.25}])
def test_what_is_unknown_of_this_process_is_unknown_of_the_total(own: dict[str, float | None]) -> None:
    report = added(REPORT | own, 600.0, 6.0)
    assert {name: getattr(report, name) for name in own} == own


def test_an_energy_that_is_unknown_of_before_leaves_the_rest_known() -> None:
    report = added(REPORT | {"energy_known_from_seconds": 0.25}, None, 6.0)
    assert (report.energy_joules, report.energy_known_from_seconds, report.time_seconds) == (100, 6.25, 7)


def test_a_time_that_is_unknown_of_before_makes_all_totals_unknown() -> None:
    report = added(REPORT, None, None)
    assert (report.energy_joules, report.time_seconds) == (None, None)


def test_where_a_process_began_is_told_with_the_epochs_after_it() -> None:
    before = Before.of(None, 6.0)
    assert before.epoch == 6
    reports = [before.added_to(ObserveRequest.model_validate(REPORT | {"epoch": epoch})) for epoch in (5.0, 7.0)]
    assert [report.started_at_epoch for report in reports] == [None, 6]
