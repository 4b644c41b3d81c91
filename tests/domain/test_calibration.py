"""How well the costs of runs were predicted: what is kept when a run begins, and its comparison with what came."""

from dataclasses import replace
from datetime import datetime
from functools import partial
from math import log
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from rheostat.domain import calibration
from rheostat.domain.events import PolicyFailureTolerated
from rheostat.domain.history import History
from rheostat.domain.job import Decision, Job
from rheostat.domain.orders import order
from rheostat.domain.records import PredictedTrial, TrialRecord
from rheostat.policy.estimates import CostPrediction
from rheostat.policy.interface import Job as PolicyJob
from rheostat.policy.interface import Policy
from rheostat.policy.recommender import knowledge
from rheostat.policy.recommender.belief import believe
from rheostat.policy.zeus import JustInTimePowerLimit, PruningThompsonSampling
from rheostat.replay.backend import InProcess
from rheostat.replay.run import Plan, job_of
from rheostat.replay.simulator import replay_job
from rheostat.schemas.calibration import PlacementCalibration
from rheostat.schemas.control import OrderRequest
from rheostat.schemas.server import JobDetail
from tests.domain.examples import ExampleJob
from tests.replay.examples import a_world

TRUE_DEVIATION = 0.2
"""Standard deviation of the logarithm of what the runs of :func:`after_runs` cost."""


class Says(PruningThompsonSampling):
    """A policy that always predicts a median of 100 J."""

    deviation = TRUE_DEVIATION

    def predicted_cost(self, job: PolicyJob, batch_size: int) -> CostPrediction | None:
        return CostPrediction(log(100.0), self.deviation)


class SaysTooMuch(Says):
    deviation = TRUE_DEVIATION / 4


class SaysTooLittle(Says):
    deviation = TRUE_DEVIATION * 4


class FailsToSay(Says):
    def predicted_cost(self, job: PolicyJob, batch_size: int) -> CostPrediction | None:
        raise ZeroDivisionError


class SaysNonsense(Says):
    deviation = float("inf")


class SaysNoPrediction(Says):
    def predicted_cost(self, job: PolicyJob, batch_size: int) -> CostPrediction | None:
        return cast("CostPrediction", 100.0)


class OfPolicy(ExampleJob):
    """The example job with one batch size, a cost of energy alone, and a policy of its own."""

    def __init__(self, optimizer: type[PruningThompsonSampling] | None = None, **changes: Any) -> None:
        super().__init__(**{"batch_sizes": [32], "eta_knob": 1.0, "beta_knob": None} | changes)
        if optimizer is not None:
            policy = Policy(optimizer, JustInTimePowerLimit)
            self._memory.job = replace(self._memory.job, find_policy=lambda _: policy)

    @property
    def trials(self) -> list[TrialRecord]:
        found = map(self._memory.trial_numbered, range(1, self.value.next_trial_number))
        return [trial for trial in found if trial is not None]

    @property
    def calibration(self) -> PlacementCalibration:
        return compared(self.value, self.trials)


class Remembered(InProcess):
    """A job that a replay keeps in this process."""

    @property
    def calibration(self) -> PlacementCalibration:
        return compared(self.job, [piece for piece in self._job.evidence() if isinstance(piece, TrialRecord)])


def compared(job: Job, trials: list[TrialRecord]) -> PlacementCalibration:
    """Return the calibration of the first placement, by its trials that have ended."""
    rows = [tuple(getattr(trial, name) for name in PredictedTrial._fields) for trial in trials if trial.predicted_cost]
    return calibration.calibration(job, [PredictedTrial(*row) for row in rows]).placements[0]


def force(job: Job, _: History, request: OrderRequest, now: datetime) -> Decision[JobDetail]:
    return order(job, "force", request, now)


def after_runs(policy: type[PruningThompsonSampling], count: int) -> OfPolicy:
    """Return a job after runs whose costs are lognormal around 100 J."""
    job, random = OfPolicy(policy), Random(5)
    for _ in range(count):
        job.converge(job.predict(), 100.0 * random.lognormvariate(0.0, TRUE_DEVIATION))
    return job


@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
def test_a_cost_is_predicted_from_the_runs_before(policy: str) -> None:
    job = OfPolicy(policy=policy)
    for joules in (100.0, 104.0):
        job.converge(job.predict(), joules)
    trial = job.predict()
    first, *_, latest = job.trials
    assert first.predicted_cost is None
    assert latest.trial_id == trial.trial_id
    assert latest.predicted_cost is not None
    assert latest.predicted_cost["policy"] == policy
    said = CostPrediction(latest.predicted_cost["log_mean"], latest.predicted_cost["log_deviation"])
    assert said.median == pytest.approx(102.0, rel=0.02)


def test_a_prediction_uses_the_belief_of_the_decision(monkeypatch: pytest.MonkeyPatch) -> None:
    job = OfPolicy(policy="rheostat")
    job.converge(job.predict(), 100.0)
    derived: list[PolicyJob] = []

    def counted(view: PolicyJob, *others: Any) -> Any:
        derived.append(view)
        return believe(view, *others)

    monkeypatch.setattr(knowledge, "believe", counted)
    job.predict()
    assert len(derived) == 1


def test_what_was_said_stays_through_a_rebuild_and_a_change_of_the_knobs() -> None:
    job = OfPolicy(policy="rheostat")
    for joules in (100.0, 104.0, 96.0):
        job.converge(job.predict(), joules, seconds=2.0)
    said, compared = job.trials[-1].predicted_cost, job.calibration.runs
    assert said is not None
    assert said["eta_knob"] == 1.0
    job.rebuild()
    job.update(eta_knob=0.25)
    assert job.trials[-1].predicted_cost == said
    assert job.calibration.runs == compared
    assert compared[-1].cost == pytest.approx(96.0)
    job.converge(job.predict(), 100.0, seconds=2.0)
    assert job.calibration.runs[-1].cost == pytest.approx(0.25 * 100.0 + 0.75 * 250.0 * 2.0)


def test_honest_predictions_are_as_good_as_they_claim() -> None:
    found = after_runs(Says, 100).calibration
    assert [one.level for one in found.coverage] == [0.5, 0.8, 0.95]
    for one in found.coverage:
        assert one.share_low is not None
        assert one.share_high is not None
        assert one.share_low < one.level < one.share_high
        assert one.inside + one.below + one.above == found.converged_runs == 100
    assert found.verdict == "about right"
    assert found.median_ratio == pytest.approx(1.0, abs=0.1)


def test_predictions_that_claim_too_much_are_found_out() -> None:
    found = after_runs(SaysTooMuch, 20).calibration
    inside = sum(run.predicted_low <= run.cost <= run.predicted_high for run in found.runs)
    assert (found.verdict, found.coverage[1].inside) == ("too narrow", inside)
    assert f"{inside} of 20 runs cost what was predicted, within the 80 % interval" in found.statement
    assert found.statement.count("The intervals are too narrow.") == 1


def test_predictions_that_claim_too_little_are_found_out() -> None:
    found = after_runs(SaysTooLittle, 30).calibration
    assert (found.verdict, found.coverage[1].inside) == ("too wide", 30)


def test_few_runs_judge_nothing() -> None:
    found = after_runs(SaysTooMuch, calibration.FEWEST_TO_JUDGE - 1).calibration
    assert found.verdict == "too few runs"
    assert "Too few runs to judge the intervals." in found.statement


def test_before_any_run_has_ended_the_statement_says_so() -> None:
    job = OfPolicy(Says)
    job.predict()
    found = job.calibration
    assert (found.converged_runs, found.runs, found.median_ratio) == (0, [], None)
    assert [one.share for one in found.coverage] == [None] * 3
    assert "No run with a predicted cost has reached its target yet" in found.statement


def test_runs_that_ended_before_their_target_are_counted_apart() -> None:
    job = after_runs(Says, 12)
    for joules in (50.0, 500.0):
        job.report(job.predict(), 10, metric=0.1, energy_joules=joules, time_seconds=1.0)
    for outcome in ("cancelled", "oom"):
        job.report(job.predict(), 1, metric=0.1, energy_joules=500.0, time_seconds=1.0, outcome=outcome)
    found = job.calibration
    assert (found.converged_runs, found.censored_runs) == (12, 2)
    assert [one.censored_above for one in found.coverage] == [1, 1, 1]
    assert [run.state for run in found.runs if run.is_censored] == ["failed", "failed"]
    assert "2 that ended before the target are not counted." in found.statement


def test_a_run_that_began_in_the_middle_of_a_training_is_not_compared() -> None:
    job = OfPolicy(Says)
    job.converge(job.predict(started_at_epoch=4), 20.0)
    assert job.trials[-1].predicted_cost is not None
    assert job.calibration.runs == []


def test_a_run_that_goes_on_is_compared_as_a_whole_with_what_was_said_at_its_beginning() -> None:
    job = OfPolicy(policy="rheostat")
    for joules in (100.0, 104.0):
        job.converge(job.predict(), joules)
    begun = job.predict()
    job.report(begun, 1, metric=0.5, energy_joules=60.0, time_seconds=0.6)
    said = job.trials[-1].predicted_cost
    beside = job.predict()
    job.converge(beside, 300.0)
    later = job.predict(resumes=begun.trial_id)
    assert job.trials[-1].predicted_cost == said
    job.report(later, 2, metric=0.95, energy_joules=110.0, time_seconds=1.1)
    assert job.calibration.runs[-1].cost == pytest.approx(110.0)


def test_predictions_of_an_earlier_policy_are_left_out() -> None:
    job = OfPolicy(policy="rheostat")
    for joules in (100.0, 104.0, 96.0):
        job.converge(job.predict(), joules)
    assert job.calibration.converged_runs == 2
    job.update(policy="zeus")
    assert job.calibration.converged_runs == 0


def test_under_a_limit_that_was_ordered_nothing_is_predicted() -> None:
    job = OfPolicy(Says, power_limits_watts=[100, 250])
    job.measure(32, w250=100.0, w100=80.0)
    for limit in (None, 250):
        request = OrderRequest(batch_size=32, power_limit_watts=limit)
        job.change(partial(force, request=request, now=job.clock()))
        job.predict()
    assert [trial.power_limit_watts for trial in job.trials] == [100, 250]
    assert [trial.predicted_cost is None for trial in job.trials] == [False, True]


@pytest.mark.parametrize("policy", [FailsToSay, SaysNoPrediction])
def test_a_policy_that_fails_to_predict_a_cost_still_decides(policy: type[Says]) -> None:
    job = OfPolicy(policy)
    assert job.predict().batch_size == 32
    assert job.trials[0].predicted_cost is None
    (event,) = [event for event in job.events if isinstance(event, PolicyFailureTolerated)]
    assert "not predicted" in event.consequence


def test_what_is_no_number_is_no_prediction() -> None:
    job = OfPolicy(SaysNonsense)
    job.predict()
    assert job.trials[0].predicted_cost is None


@pytest.mark.parametrize(
    ("inside", "count", "low", "high"), [(17, 20, 0.6396, 0.9476), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0)]
)
def test_the_interval_of_a_share_is_wilsons(inside: int, count: int, low: float, high: float) -> None:
    assert calibration.share_interval(inside, count) == pytest.approx((low, high), abs=1e-4)


def test_a_replayed_job_costs_what_is_predicted(tmp_path: Path) -> None:
    """The epochs of a recorded run are few and whole: the intervals hold at least what they should."""
    world = a_world(tmp_path)
    plan = Plan(policy="rheostat", eta_knob=0.5, beta_knob=2.0, recurrences=40, seeds=(0,), survey=True)
    backend = Remembered(*job_of(world, plan, 0))
    replay_job(world, backend, seed=0, recurrences=plan.recurrences, survey=True)
    found = backend.calibration
    assert found.converged_runs >= 30
    assert found.verdict in ("about right", "too wide")
