"""The driver trains what it is told to, reports what a trainer would, and tries again until a run converges."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rheostat.errors import PolicyFailed
from rheostat.policy.advisor import PowerAdvice
from rheostat.policy.interface import TrialState
from rheostat.replay.backend import Launch, Report, Slice, SurveySlice
from rheostat.replay.simulator import MOST_TRIES, TrialRecord, replay_job
from rheostat.replay.traces import EpochFigures
from rheostat.replay.world import World
from tests.replay.examples import CHOICE, RUNS, SECONDS, a_world

KNOWN = PowerAdvice(200)
SWEEP = PowerAdvice(None, (200, 150, 100))


class Scripted:
    """Launches what it is told to, notes all that it hears, and stops a trial at the target or when it is told to."""

    def __init__(
        self,
        world: World,
        batch_sizes: Sequence[int],
        *,
        power: PowerAdvice = KNOWN,
        sweep: Callable[[int], PowerAdvice] = lambda measured: KNOWN,
        stop_after: int | None = None,
    ) -> None:
        self._world, self._batch_sizes, self._power, self._sweep = world, batch_sizes, power, sweep
        self._stop_after = stop_after
        self.survey_slices: list[SurveySlice] = []
        self.surveyed: list[Slice] = []
        self.calls: list[str] = []
        self.slices: list[Slice] = []
        self.reports: list[Report] = []
        self._launched = 0

    def survey(self) -> SurveySlice | None:
        return self.survey_slices[len(self.surveyed)] if len(self.surveyed) < len(self.survey_slices) else None

    def observe_survey(self, wanted: SurveySlice, measured: Slice) -> None:
        self.surveyed.append(measured)

    def predict(self) -> Launch:
        self._launched += 1
        self.calls.append(f"predict {self._launched}")
        size = self._batch_sizes[(self._launched - 1) % len(self._batch_sizes)]
        return Launch(str(self._launched), self._launched, size, self._power)

    def observe_power_limit(self, launch: Launch, measured: Slice) -> PowerAdvice:
        self.slices.append(measured)
        return self._sweep(len(self.slices))

    def observe(self, launch: Launch, report: Report) -> TrialState:
        self.reports.append(report)
        if report.metric is not None and self._world.target.reached(report.metric):
            self.calls.append(f"converged {launch.number}")
            return "converged"
        if report.epoch == self._stop_after:
            self.calls.append(f"stopped {launch.number}")
            return "stopped"
        return "running"


def run(world: World, backend: Scripted, *, recurrences: int = 1, concurrency: int = 1) -> tuple[TrialRecord, ...]:
    return replay_job(world, backend, seed=3, recurrences=recurrences, concurrency=concurrency)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return a_world(tmp_path)


def test_every_epoch_is_reported_with_its_metric_and_all_that_was_spent(world: World) -> None:
    backend = Scripted(world, [64])
    (trial,) = run(world, backend)
    epochs = trial.epochs
    assert epochs in {4, 5}
    assert [report.epoch for report in backend.reports] == list(range(1, epochs + 1))
    assert [report.metric for report in backend.reports] == pytest.approx([0.3, *[0.5] * (epochs - 2), 0.7])
    assert [report.time_seconds for report in backend.reports] == [8.0 * n for n in range(1, epochs + 1)]
    assert [report.energy_joules for report in backend.reports] == [8.0 * 180.0 * n for n in range(1, epochs + 1)]
    assert (trial.time_seconds, trial.energy_joules) == (8.0 * epochs, 8.0 * 180.0 * epochs)
    assert (trial.batch_size, trial.power_limit_watts, trial.state) == (64, 200, "converged")


def test_a_run_sets_up_before_its_first_epoch_and_evaluates_after_each(world: World) -> None:
    backend = Scripted(world, [64])
    heavy = replace(world, setup=EpochFigures(100.0, 50.0), evaluation=EpochFigures(2.0, 10.0))
    (trial,) = run(heavy, backend)
    seconds = [100.0 + 10.0 * n for n in range(1, trial.epochs + 1)]
    assert [report.time_seconds for report in backend.reports] == seconds
    joules = [5000.0 + (8.0 * 180.0 + 20.0) * n for n in range(1, trial.epochs + 1)]
    assert [report.energy_joules for report in backend.reports] == pytest.approx(joules)


def test_the_first_epoch_is_divided_evenly_among_the_limits_to_measure(world: World) -> None:
    backend = Scripted(world, [64], power=SWEEP, sweep=lambda measured: PowerAdvice(150) if measured == 3 else SWEEP)
    (trial,) = run(world, backend)
    assert trial.profiled_power_limits_watts == (200, 150, 100)
    assert trial.power_limit_watts == 150
    figures = world.figures[64]
    for measured, limit in zip(backend.slices, (200, 150, 100), strict=True):
        assert measured.power_limit_watts == limit
        assert measured.per_epoch == 3
        assert measured.time_seconds == figures[limit].time_seconds / 3
        assert measured.energy_joules == figures[limit].energy_joules / 3
    assert backend.reports[0].time_seconds == pytest.approx(8.0 * (1.0 + 1.1 + 2.0) / 3)
    assert backend.reports[1].time_seconds == pytest.approx(backend.reports[0].time_seconds + 8.0 * 1.1)


def test_a_sweep_that_ends_early_costs_the_mean_of_what_was_measured(world: World) -> None:
    backend = Scripted(world, [64], power=SWEEP, sweep=lambda measured: PowerAdvice(150) if measured == 2 else SWEEP)
    (trial,) = run(world, backend)
    assert trial.profiled_power_limits_watts == (200, 150)
    assert backend.reports[0].time_seconds == pytest.approx(8.0 * (1.0 + 1.1) / 2)


def test_the_backend_may_change_what_is_still_to_be_measured(world: World) -> None:
    answers = {1: PowerAdvice(None, (100,)), 2: PowerAdvice(200)}
    (trial,) = run(world, Scripted(world, [64], power=SWEEP, sweep=answers.__getitem__))
    assert trial.profiled_power_limits_watts == (200, 100)


def test_a_backend_that_wants_nothing_measured_and_names_no_limit_is_refused(world: World) -> None:
    with pytest.raises(PolicyFailed, match=r"nor one left to measure at batch size 64, after \[\]"):
        run(world, Scripted(world, [64], power=PowerAdvice(None)))


def test_a_backend_that_wants_the_same_limit_measured_for_ever_is_refused(world: World) -> None:
    with pytest.raises(PolicyFailed, match=r"one left to measure at batch size 64, after \[200, 150, 100\]"):
        run(world, Scripted(world, [64], power=SWEEP, sweep=lambda measured: SWEEP))


def test_a_trial_that_does_not_converge_is_followed_by_another_try(world: World) -> None:
    backend = Scripted(world, [128, 64], stop_after=7)
    trials = run(world, backend, recurrences=2)
    assert [(trial.recurrence, trial.attempt, trial.batch_size, trial.state) for trial in trials] == [
        (1, 1, 128, "stopped"),
        (1, 2, 64, "converged"),
        (2, 1, 128, "stopped"),
        (2, 2, 64, "converged"),
    ]
    assert trials[0].epochs == 7
    assert trials[0].time_seconds == 7 * SECONDS[128]


def test_a_recurrence_that_never_converges_ends_with_what_was_tried(world: World) -> None:
    backend = Scripted(world, [128], stop_after=1)
    with pytest.raises(PolicyFailed, match=rf"recurrence 1 did not reach 0\.7 in {MOST_TRIES} trials; .*128, 128"):
        run(world, backend)
    assert backend.calls.count("predict 20") == 1
    assert "predict 21" not in backend.calls


def test_a_trial_that_still_runs_after_its_last_epoch_is_an_error(world: World) -> None:
    with pytest.raises(PolicyFailed, match="still runs after its 10 epochs"):
        run(world, Scripted(world, [128]))


def test_recurrences_that_are_launched_together_learn_nothing_of_each_other(world: World) -> None:
    backend = Scripted(world, [64])
    trials = run(world, backend, recurrences=5, concurrency=2)
    assert backend.calls == [
        *("predict 1", "predict 2", "converged 1", "converged 2"),
        *("predict 3", "predict 4", "converged 3", "converged 4"),
        *("predict 5", "converged 5"),
    ]
    assert [trial.recurrence for trial in trials] == [1, 2, 3, 4, 5]


def test_a_retry_is_asked_for_once_its_predecessor_has_failed(world: World) -> None:
    backend = Scripted(world, [128, 64, 64], stop_after=7)
    run(world, backend, recurrences=2, concurrency=2)
    assert backend.calls == ["predict 1", "predict 2", "stopped 1", "predict 3", "converged 3", "converged 2"]


def test_the_runs_that_are_drawn_do_not_depend_on_what_the_backend_draws(world: World) -> None:
    alone = run(world, Scripted(world, [64]), recurrences=20)
    together = run(world, Scripted(world, [64]), recurrences=20, concurrency=4)
    assert [trial.epochs for trial in alone] == [trial.epochs for trial in together]
    assert {trial.epochs for trial in alone} == {epochs[1] for epochs in RUNS[64]}


def test_other_seeds_draw_other_runs(world: World) -> None:
    drawn = {
        tuple(t.epochs for t in replay_job(world, Scripted(world, [64]), seed=seed, recurrences=20))
        for seed in range(5)
    }
    assert len(drawn) == 5


def test_no_draw_repeats_the_generator_of_a_policy() -> None:
    """The draws of (seed, recurrence, try) would be those of (seed, trial) if tries counted from 0."""
    assert np.random.default_rng([3, 1, 0]).random() == np.random.default_rng([3, 1]).random()
    assert np.random.default_rng([3, 1, 1]).random() != np.random.default_rng([3, 1]).random()


def test_a_run_that_converges_too_late_for_the_job_runs_to_the_last_epoch(tmp_path: Path) -> None:
    world = a_world(tmp_path, replace(CHOICE, max_epochs=5))
    backend = Scripted(world, [16, 64], stop_after=5)
    trials = run(world, backend)
    assert (trials[0].state, trials[0].epochs) == ("stopped", 5)


def test_a_survey_measures_before_the_first_trial_and_is_charged_to_it(world: World) -> None:
    backend = Scripted(world, [64])
    backend.survey_slices = [SurveySlice(64, 200, 10.0, 0.02), SurveySlice(32, 100, 0.01, 0.02)]
    trials = replay_job(world, backend, seed=3, recurrences=2, survey=True)
    (without, second) = run(world, Scripted(world, [64]), recurrences=2)
    at_default = world.figures[world.default_batch_size][world.power_limits_watts[0]].time_seconds
    assert trials[0].time_seconds == pytest.approx(without.time_seconds + 0.02 * at_default + 0.01)
    assert trials[1] == second
    for wanted, measured in zip(backend.survey_slices, backend.surveyed, strict=True):
        figures = world.figures[wanted.batch_size][wanted.power_limit_watts]
        assert measured.time_seconds * measured.per_epoch == pytest.approx(figures.time_seconds, rel=0.1)
        assert measured.energy_joules * measured.per_epoch == pytest.approx(figures.energy_joules, rel=0.1)


def test_without_a_survey_nothing_is_measured_before_the_first_trial(world: World) -> None:
    backend = Scripted(world, [64])
    backend.survey_slices = [SurveySlice(64, 200, 10.0, 0.02)]
    run(world, backend)
    assert backend.surveyed == []
