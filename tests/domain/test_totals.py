"""The sums of a placement's runs: what savings are read from."""

from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from rheostat.domain import energy, registration, totals
from rheostat.domain.insight import totals_of
from rheostat.domain.job import Decision
from rheostat.domain.policy_states import States
from rheostat.domain.records import PlacementKey, Totals, TrialRecord
from tests.domain.examples import LEASE, ExampleJob
from tests.domain.histories import STEPS, Step, take

ON_V100 = PlacementKey("V100", 1)


class CountedJob(ExampleJob):
    """A job that can show all its trials."""

    def trials(self) -> list[TrialRecord]:
        ids = [f"{number:032x}" for number in range(1, self._ids + 1)]
        return [trial for one in ids if (trial := self.read(lambda _, history, i=one: history.trial(i))) is not None]  # type: ignore[misc]


def _added_up(trials: list[TrialRecord], placement: PlacementKey, *, converged: bool) -> dict[str, float]:
    """Return what trials took, added up one by one: those that trained, but for what another one carries on."""
    carried_on = {trial.resumes for trial in trials}
    sums: dict[str, float] = defaultdict(float)
    for trial in trials:
        is_counted = trial.placement == placement and trial.epochs and trial.trial_id not in carried_on
        if not is_counted or (converged and trial.state != "converged"):
            continue
        known = energy.metered(trial)
        sums["runs"] += 1
        sums["epochs"] += trial.epochs or 0
        sums["joules"] += trial.energy_joules or 0
        sums["seconds"] += trial.time_seconds or 0
        sums["metered joules"] += known.joules if known and known.seconds else 0
        sums["metered seconds"] += known.seconds if known else 0
        sums["estimated"] += energy.is_estimated(trial)
    return sums


def _as_counted(entries: list[Totals]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for entry in entries:
        sums["runs"] += entry.runs
        sums["epochs"] += entry.epochs or 0
        sums["joules"] += entry.energy_joules or 0
        sums["seconds"] += entry.time_seconds or 0
        sums["metered joules"] += entry.metered_joules
        sums["metered seconds"] += entry.metered_seconds
        sums["estimated"] += entry.estimated_runs
    return sums


@hypothesis_settings(max_examples=60)
@given(steps=STEPS)
def test_whatever_happens_the_sums_are_those_of_the_trials(steps: list[Step]) -> None:
    job = CountedJob()
    for step in steps:
        take(job, step)
    for key, placement in job.value.placements.items():
        sums = job.read(lambda value, history, p=placement: totals_of(value, history, p))  # type: ignore[misc]
        for converged in (False, True):
            expected = _added_up(job.trials(), key, converged=converged)
            assert _as_counted(sums.trials(converged=converged)) == pytest.approx(expected, rel=1e-9)


@hypothesis_settings(max_examples=60)
@given(steps=STEPS)
def test_a_rebuild_finds_the_same_sums_to_the_last_digit(steps: list[Step]) -> None:
    job = ExampleJob()
    for step in steps:
        take(job, step)
    before = {key: parts["totals"] for key, parts in job.value.states.items()}
    for key, state in before.items():
        assert job.read(lambda _, history, k=key: totals.fold(history.paid(k))) == state  # type: ignore[misc]
    job.rebuild()
    assert {key: parts["totals"] for key, parts in job.value.states.items()} == before


def test_a_trial_that_is_heard_of_again_is_not_counted_twice() -> None:
    job = ExampleJob()
    trial = job.predict()
    job.report(trial, 1, metric=0.1, energy_joules=0.1, time_seconds=1.0)
    empty = job.value.states[ON_V100]["totals"]
    job.clock.turn(2 * LEASE)
    job.predict()
    assert job.show(trial).state == "abandoned"
    assert list(job.value.states[ON_V100]["totals"].values()) == [[1, 10**9, 10**8, 10**9, 0, 10**8, 10**9, 0]]
    job.renew_lease(trial)
    assert job.value.states[ON_V100]["totals"] == empty == {}
    job.report(trial, 2, metric=0.95, energy_joules=0.3, time_seconds=2.0)
    assert job.value.states[ON_V100]["totals"] == {
        "32 trial converged energy time": [1, 2 * 10**9, 3 * 10**8, 2 * 10**9, 0, 3 * 10**8, 2 * 10**9, 0]
    }
    assert job.savings().energy_joules.actual == 0.3


def test_while_a_trial_runs_no_report_changes_the_sums() -> None:
    job = ExampleJob()
    trial = job.predict()
    for epoch in (1, 2, 3):
        job.report(trial, epoch, metric=0.1, energy_joules=10.0 * epoch, time_seconds=1.0 * epoch)
        assert (ON_V100, "totals") not in job.last_changes.states
        assert job.savings().energy_joules.actual == 10.0 * epoch


def test_changed_settings_leave_the_sums_as_they_are() -> None:
    job = ExampleJob()
    job.converge(job.predict(), 100.0)
    before = job.value.states[ON_V100]["totals"]
    job.update(policy="rheostat", eta_knob=1.0)
    assert job.value.states[ON_V100]["totals"] is before


def test_a_job_of_an_older_version_is_added_up_from_its_history_until_it_has_sums() -> None:
    job = ExampleJob()
    job.converge(job.predict(), 100.0)
    expected, sums = job.savings(), job.value.states
    old: States = {
        key: {part: state for part, state in parts.items() if part != "totals"} for key, parts in sums.items()
    }
    job.change(lambda value, _: Decision(None, replace(value, states=old)))
    assert job.savings() == expected
    job.converge(job.predict(), 100.0)
    assert job.savings().energy_joules.actual == 200.0
    job.change(registration.complete)
    assert job.savings().energy_joules.actual == 200.0
    assert job.value.states[ON_V100]["totals"]


def test_a_small_figure_is_not_lost_beside_a_large_one() -> None:
    job = ExampleJob()
    for joules in (2.0**49, 1e-9, 2.0**49):
        job.import_run(32, energy_joules=joules, converged=True)
    (figures,) = job.value.states[ON_V100]["totals"].values()
    assert figures[2] == 2**50 * 10**9 + 1
