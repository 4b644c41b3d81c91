"""What every :class:`~rheostat.domain.history.History` must do: a suite that runs in memory and on each database."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from rheostat.domain.insight import totals_of
from rheostat.domain.records import Evidence, ObservationRecord, PlacementKey, Totals, TrialRecord
from rheostat.domain.totals import PlacementTotals
from rheostat.schemas.trials import Trial
from tests.domain.examples import A40, LEASE, V100, ExampleJob, measurements_of

ON_V100, ON_A40, NOWHERE = PlacementKey("V100", 1), PlacementKey("A40", 2), PlacementKey("H100", 8)

MakeJob = Callable[..., ExampleJob]
"""Makes a new job with some settings, and keeps it."""


class HistoryContract:
    """The suite; a subclass has a fixture ``make_job``."""

    def test_a_report_is_found_by_its_epoch_and_by_whether_it_closed_the_trial(self, make_job: MakeJob) -> None:
        job = make_job()
        trial = job.predict()
        job.report(trial, 1, metric=0.5, energy_joules=10.0, time_seconds=1.0)
        job.clock.turn(timedelta(seconds=1))
        answer = job.report(trial, 1, outcome="failed")
        assert _observation(job, trial, 1, closing=True) == ObservationRecord(
            trial_id=trial.trial_id,
            epoch=1.0,
            closing=True,
            metric=None,
            energy_joules=None,
            time_seconds=None,
            outcome="failed",
            received_at=job.clock(),
            answered_state="failed",
            answered_reason=answer.reason,
            answered_power_limit_watts=None,
        )
        before = _observation(job, trial, 1, closing=False)
        assert before is not None
        assert (before.metric, before.energy_joules, before.time_seconds, before.outcome) == (0.5, 10.0, 1.0, None)
        assert _observation(job, trial, 2, closing=False) is None

    def test_trials_that_trained_or_crashed_are_found_with_the_times(self, make_job: MakeJob) -> None:
        job = make_job()
        crashed, trained, _running = job.predict(), job.predict(), job.predict()
        job.report(crashed, 0, outcome="cancelled")
        crashed_at = job.clock()
        job.clock.turn(timedelta(seconds=1))
        job.report(trained, 1, metric=0.1)
        found = job.read(lambda _, history: history.beginnings())
        assert set(found) == {
            (ON_V100, crashed.number, crashed.batch_size, None, crashed_at),
            (ON_V100, trained.number, trained.batch_size, job.clock(), None),
        }

    def test_the_nearest_reports_before_and_after_an_epoch_are_found(self, make_job: MakeJob) -> None:
        job = make_job()
        trial, other = job.predict(), job.predict()
        for epoch in (4, 1, 2.5):
            job.report(trial, epoch, metric=0.1)
        job.report(other, 3, metric=0.1)

        def neighbours(epoch: float) -> list[float | None]:
            found = job.read(
                lambda _, history: (
                    history.observation_before(trial.trial_id, epoch),
                    history.observation_after(trial.trial_id, epoch),
                )
            )
            return [None if report is None else report.epoch for report in found]

        assert neighbours(1) == [None, 2.5]
        assert neighbours(3) == [2.5, 4]
        assert neighbours(4) == [2.5, None]
        assert neighbours(9) == [4, None]

    def test_a_trial_is_found_by_its_id_its_key_and_its_number_as_it_is_now(self, make_job: MakeJob) -> None:
        job = make_job(learning_rate={"default": 0.1, "scaling": "linear"})
        trial, lost = job.predict(key="a", node="gpu-7"), job.predict(A40, key="b")
        job.report(trial, 2, metric=0.95, energy_joules=10.0, time_seconds=1.0)
        job.clock.turn(2 * LEASE)
        job.predict()
        found = _trial(job, trial)
        assert found is not None
        assert found == job.read(lambda _, history: history.trial_by_key("a"))
        assert found == job.read(lambda _, history: history.trial_numbered(trial.number))
        assert job.read(lambda _, history: history.trial_numbered(9)) is None
        assert (found.state, found.epochs, found.metric, found.sequence) == ("converged", 2.0, 0.95, 1)
        assert (found.node, found.learning_rate, found.placement) == ("gpu-7", 0.1, ON_V100)
        assert found.profile_power_limits_watts == trial.profile_power_limits_watts
        assert found.curve is not None
        abandoned = job.read(lambda _, history: history.trial_by_key("b"))
        assert abandoned is not None
        assert (abandoned.trial_id, abandoned.state, abandoned.ended_at) == (lost.trial_id, "abandoned", job.clock())
        assert abandoned.curve is None
        assert job.read(lambda _, history: history.trial_by_key("c")) is None
        assert job.read(lambda _, history: history.trial("f" * 32)) is None

    def test_a_run_is_found_by_its_key(self, make_job: MakeJob) -> None:
        job = make_job()
        job.import_run(32, key="a", cost=100.0, converged=False)
        job.import_run(64, A40, key="b", energy_joules=10.0, time_seconds=1.0)
        first = job.read(lambda _, history: history.run_by_key("a"))
        second = job.read(lambda _, history: history.run_by_key("b"))
        assert first is not None
        assert second is not None
        assert (first.placement, first.cost, first.energy_joules, first.converged) == (ON_V100, 100.0, None, False)
        assert (second.placement, second.cost, second.energy_joules, second.sequence) == (ON_A40, None, 10.0, 2)
        assert job.read(lambda _, history: history.run_by_key("c")) is None

    def test_the_latest_measurements_are_found(self, make_job: MakeJob) -> None:
        job = make_job()
        job.measure(32, w250=1.0, w200=2.0)
        job.measure(32, w250=3.0, w150=4.0)
        job.measure(64, w250=5.0)
        job.measure(32, A40, w250=6.0)

        def latest(key: PlacementKey, size: int) -> float | None:
            found = job.read(lambda _, history: history.latest_measurement(key, size))
            return None if found is None else found.energy_joules

        def latest_of_all(key: PlacementKey) -> dict[tuple[int, int], float | None]:
            found = job.read(lambda _, history: history.latest_measurements(key))
            return {what: measurement.energy_joules for what, measurement in found.items()}

        assert [latest(ON_V100, 32), latest(ON_V100, 64), latest(ON_A40, 32)] == [4.0, 5.0, 6.0]
        assert [latest(ON_V100, 16), latest(NOWHERE, 32)] == [None, None]
        assert latest_of_all(ON_V100) == {(32, 250): 3.0, (32, 200): 2.0, (32, 150): 4.0, (64, 250): 5.0}
        assert (latest_of_all(ON_A40), latest_of_all(NOWHERE)) == ({(32, 250): 6.0}, {})

    def test_the_measurements_of_a_key_are_found_in_their_order(self, make_job: MakeJob) -> None:
        job = make_job()
        job.measure(32, w250=1.0)
        job.measured(32, V100, measurements_of(w200=2.0, w250=3.0), key="a")
        job.measured(32, A40, measurements_of(w300=4.0), key="b")

        def of_key(key: str) -> list[tuple[PlacementKey, int]]:
            found = job.read(lambda _, history: history.measurements_by_key(key))
            return [(measurement.placement, measurement.power_limit_watts) for measurement in found]

        assert of_key("a") == [(ON_V100, 200), (ON_V100, 250)]
        assert of_key("b") == [(ON_A40, 300)]
        assert of_key("c") == []

    def test_a_batch_size_has_trained_where_a_trial_has_run_a_part_of_an_epoch(self, make_job: MakeJob) -> None:
        job = make_job()
        job.import_run(8, cost=1.0)
        job.report(job.predict(), 0.5, metric=0.1)
        job.report(job.predict(A40), 0, outcome="cancelled")
        for key, size, expected in (
            (ON_V100, 32, True),
            (ON_V100, 8, False),
            (ON_A40, 32, False),
            (NOWHERE, 32, False),
        ):
            assert job.read(lambda _, history, k=key, s=size: history.has_trained(k, s)) is expected  # type: ignore[misc]

    def test_evidence_is_what_concluded_in_the_order_of_its_sequence(self, make_job: MakeJob) -> None:
        job = make_job()
        running, late, cancelled = job.predict(), job.predict(), job.predict()
        job.measure(32, w250=1.0)
        job.import_run(32, A40, cost=1.0)
        job.report(running, 1, metric=0.1)
        job.report(cancelled, 1, outcome="cancelled")
        job.converge(late, 10.0)
        job.measure(32, A40, w250=1.0)
        evidence: list[Evidence] = job.read(lambda _, history: history.evidence())
        assert [(piece.sequence, type(piece).__name__, piece.placement) for piece in evidence] == [
            (1, "PowerMeasurementRecord", ON_V100),
            (2, "RunRecord", ON_A40),
            (3, "TrialRecord", ON_V100),
            (4, "PowerMeasurementRecord", ON_A40),
        ]

    def test_trials_that_trained_are_summed(self, make_job: MakeJob) -> None:
        job = make_job(beta_knob=None, power_limits_watts=[100, 250])
        first = job.predict()
        job.report(first, 2, metric=0.95, energy_joules=20.0, time_seconds=2.0)
        job.report(job.predict(), 1, metric=0.1, energy_joules=5.0, time_seconds=1.0)
        job.report(job.predict(A40), 1, metric=0.1, time_seconds=4.0)
        job.report(job.predict(), 1, metric=0.1, time_seconds=5.0)
        job.report(job.predict(), 0, outcome="oom")
        job.converge(job.predict(A40), 1000.0)

        def totals(**only: object) -> list[Totals]:
            return _totals(job, ON_V100).trials(**only)  # type: ignore[arg-type]

        assert totals() == [Totals(3, 4.0, 25.0 + 5.0 * 10.0, 8.0, None, 25.0, 3.0, 1)]
        known = Totals(1, 2.0, 20.0, 2.0, None, 20.0, 2.0)
        assert totals(converged=True) == [known]
        assert totals(converged=True, batch_size=first.batch_size) == [known]
        assert totals(batch_size=4) == []
        on_a40 = _totals(job, ON_A40).trials()
        assert on_a40 == [
            Totals(1, 1.0, None, 4.0, None, 0.0, 0.0, 1),
            Totals(1, 1.0, 1000.0, 10.0, None, 1000.0, 10.0),
        ]

    def test_a_trial_that_another_carries_on_is_found_and_summed_as_part_of_that_one(self, make_job: MakeJob) -> None:
        job = make_job()
        first = job.predict()
        job.report(first, 1, metric=0.1, energy_joules=5.0, time_seconds=1.0)
        second = job.predict(resumes=first.trial_id)
        job.report(second, 2, metric=0.1, energy_joules=12.0, time_seconds=3.0)
        following = job.read(lambda _, history: history.trial_resuming(first.trial_id))
        assert following is not None
        assert (following.trial_id, following.resumes, following.repeated_epochs) == (
            second.trial_id,
            first.trial_id,
            0,
        )
        assert job.read(lambda _, history: history.trial_resuming(second.trial_id)) is None
        assert _totals(job, ON_V100).trials() == [Totals(1, 2.0, 12.0, 3.0, None, 12.0, 3.0)]

    def test_energy_that_counts_from_after_the_last_report_has_no_time(self, make_job: MakeJob) -> None:
        job = make_job()
        job.report(job.predict(), 1, metric=0.1, energy_joules=0.0, time_seconds=4.0, energy_known_from_seconds=9.0)
        (totals,) = _totals(job, ON_V100).trials()
        assert (totals.metered_joules, totals.metered_seconds, totals.estimated_runs) == (0.0, 0.0, 1)

    def test_energy_over_an_unknown_time_tells_no_power(self, make_job: MakeJob) -> None:
        job = make_job()
        job.report(job.predict(), 1, metric=0.1, energy_joules=7.0)
        job.import_run(32, energy_joules=8.0, converged=True)
        (trial,) = _totals(job, ON_V100).trials()
        (run,) = _totals(job, ON_V100).runs()
        assert [(one.metered_joules, one.metered_seconds) for one in (trial, run)] == [(0.0, 0.0)] * 2

    def test_runs_are_summed_and_those_of_unknown_end_count_as_converged(self, make_job: MakeJob) -> None:
        job = make_job()
        job.import_run(32, cost=1.0, converged=True)
        job.import_run(32, cost=2.0)
        job.import_run(16, cost=4.0, converged=False)
        job.import_run(16, energy_joules=8.0, time_seconds=1.0, converged=True)
        job.import_run(32, A40, cost=1000.0)

        def totals(**only: object) -> list[Totals]:
            return _totals(job, ON_V100).runs(**only)  # type: ignore[arg-type]

        measured = Totals(1, None, 8.0, 1.0, None, 8.0, 1.0)
        assert totals() == [Totals(3, None, None, None, 7.0), measured]
        assert totals(converged=True) == [Totals(2, None, None, None, 3.0), measured]
        assert totals(batch_size=32) == [Totals(2, None, None, None, 3.0)]
        assert totals(converged=True, batch_size=16) == [measured]


def _observation(job: ExampleJob, trial: Trial, epoch: float, *, closing: bool) -> ObservationRecord | None:
    return job.read(lambda _, history: history.observation(trial.trial_id, epoch, closing=closing))


def _trial(job: ExampleJob, trial: Trial) -> TrialRecord | None:
    return job.read(lambda _, history: history.trial(trial.trial_id))


def _totals(job: ExampleJob, placement: PlacementKey) -> PlacementTotals:
    """Return the sums of a placement, which are the same when they are derived from its history."""
    known, derived = job.read(
        lambda value, history: (
            totals_of(value, history, value.placements[placement]),
            totals_of(replace(value, states={}), history, value.placements[placement]),
        )
    )
    assert (derived.trials(), derived.runs()) == (known.trials(), known.runs())
    return known
