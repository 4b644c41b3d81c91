"""Jobs and trials under `/zeus`: what is mapped to what, and that our own decisions are behind it."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from rheostat.domain import registration, zeus
from rheostat.domain.memory import JobInMemory
from rheostat.domain.trials import Clock as Time
from rheostat.errors import InvalidInput, JobDiffers, JobNotFound, TrialNotFound
from rheostat.schemas.server import JobUpdate
from rheostat.schemas.zeus import ZeusJob, ZeusReport, ZeusTrial, ZeusVerdict
from tests.domain.examples import LEASE, Clock, settings
from tests.serving import ZEUS_JOB

MAX_WATTS = 1000.0


def wanted(**changes: Any) -> ZeusJob:
    return ZeusJob.model_validate(ZEUS_JOB | changes)


class PeersJob:
    """A job with what the peer's trainers do to it.

    Args:
        changes: What differs from the usual job.
    """

    def __init__(self, policy: str | None = None, **changes: Any) -> None:
        self.clock = Clock()
        decision = zeus.register("nightly", wanted(**changes), policy, 1, self.clock())
        assert decision.job is not None
        self.registered = decision.answer
        self._memory = JobInMemory(decision.job)
        self._ids = 0

    @property
    def memory(self) -> JobInMemory:
        return self._memory

    def register_again(self, **changes: Any) -> zeus.Registered:
        return self._memory.change(lambda job, _: zeus.register_again(job, wanted(**changes)))

    def update(self, **changes: Any) -> None:
        update = JobUpdate.model_validate(changes)
        self._memory.change(lambda job, history: registration.update(job, history, update, self.clock()))

    def predict(self) -> ZeusTrial:
        self._ids += 1
        trial_id = f"{self._ids:032x}"
        return self._memory.change(
            lambda job, history: zeus.predict(job, history, trial_id=trial_id, clock=self._time())
        )

    def report(self, trial: ZeusTrial, cost: float, metric: float = 0.6, epoch: int = 1) -> ZeusVerdict:
        """Report a run of a cost, half of which is energy and half time."""
        report = ZeusReport(
            **trial.model_dump(), time=cost / MAX_WATTS, energy=cost, metric=metric, current_epoch=epoch
        )
        return self._memory.change(lambda job, history: zeus.report(job, history, report, self._time()))

    def end(self, trial: ZeusTrial) -> None:
        self._memory.change(lambda job, history: zeus.end_trial(job, history, trial, self._time()))

    def state(self, trial: ZeusTrial) -> str:
        record = self._memory.trial_numbered(trial.trial_number)
        assert record is not None
        return record.state

    def _time(self) -> Time:
        return Time(self.clock(), LEASE)


def test_a_job_is_answered_back_whole() -> None:
    job = wanted(
        eta_knob=0.3,
        beta_knob=0.5,
        target_metric=2.5,
        higher_is_better_metric=False,
        num_pruning_rounds=0,
        window_size=7,
        mab_prior_mean=-5.0,
        mab_prior_precision=0.1,
        mab_num_explorations=0,
        mab_seed=9,
        max_power=333.3,
        job_id_prefix="night",
    )
    assert zeus.register("nightly", job, None, 1, Clock()()).answer.job == job


def test_its_settings_are_those_of_a_job_of_ours() -> None:
    ours = zeus.settings_of(wanted(target_metric=2.5, higher_is_better_metric=False, mab_seed=9), "zeus")
    assert ours.target is not None
    assert (ours.target.value, ours.target.direction, ours.seed, ours.policy) == (2.5, "minimize", 9, "zeus")
    assert ours.zeus is not None
    assert (ours.zeus.max_power, ours.zeus.number_of_gpus) == (1000.0, 4)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_power": 999},
        {"gpu_model": "A40"},
        {"number_of_gpus": 2},
        {"num_pruning_rounds": 3},
        {"mab_seed": 1},
        {"job_id_prefix": "n"},
        {"mab_prior_mean": 1},
        {"mab_num_explorations": 0},
        {"eta_knob": 0.4},
    ],
)
def test_every_other_setting_differs(changes: dict[str, Any]) -> None:
    job = PeersJob()
    assert not job.register_again().is_new
    with pytest.raises(JobDiffers):
        job.register_again(**changes)


def test_a_trainer_finds_its_job_whatever_an_operator_did_to_it() -> None:
    job = PeersJob()
    job.update(policy="rheostat", eta_knob=0.9, batch_sizes=[8, 16, 32, 64, 128])
    found = job.register_again()
    assert (found.policy, found.job.eta_knob, found.job.batch_sizes[-1]) == ("rheostat", 0.9, 128)
    assert not job.register_again(eta_knob=0.9, batch_sizes=[8, 16, 32, 64, 128]).is_new


def test_an_id_that_was_made_for_a_new_job_is_never_shared() -> None:
    with pytest.raises(JobDiffers, match="in use"):
        PeersJob().register_again(job_id=None)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(InvalidInput):
        PeersJob(policy="nonsense")


def test_a_job_of_our_own_is_not_found_here() -> None:
    ours = registration.new_job("nightly", settings(), 1, Clock()())
    with pytest.raises(JobNotFound, match="was not registered under /zeus"):
        zeus.predict(ours, JobInMemory(ours), trial_id="0" * 32, clock=Time(Clock()(), LEASE))


def test_time_is_priced_by_what_all_gpus_together_draw_to_the_last_digit() -> None:
    job = PeersJob(max_power=333.3, number_of_gpus=3)
    job.predict()
    value = job.memory.job
    (placement,) = value.placements.values()
    assert value.view(placement).max_power_watts == 333.3
    assert value.view(placement).power_limits_watts == ()


def test_a_run_within_the_bound_goes_on_and_one_above_it_has_not_converged_even_at_its_target() -> None:
    job = PeersJob()
    assert job.report(job.predict(), 100.0).converged
    second = job.predict()
    assert not job.report(second, 200.0, metric=0.1).stop_train
    verdict = job.report(second, 200.1, metric=0.9, epoch=2)
    assert (verdict.stop_train, verdict.converged) == (True, False)
    assert "cost upper bound" in verdict.message


def test_a_run_that_has_not_converged_by_its_last_epoch_is_stopped() -> None:
    job = PeersJob()
    trial = job.predict()
    assert not job.report(trial, 1.0, metric=0.1, epoch=9).stop_train
    verdict = job.report(trial, 2.0, metric=0.1, epoch=10)
    assert (verdict.stop_train, verdict.converged) == (True, False)


@pytest.mark.parametrize("converges", [True, False])
def test_a_report_on_a_finished_trial_answers_as_before(converges: bool) -> None:
    job = PeersJob()
    trial = job.predict()
    first = job.report(trial, 100.0, metric=0.6 if converges else 0.1, epoch=10)
    late = job.report(trial, 70.0, metric=0.9, epoch=1)
    assert (late.stop_train, late.converged) == (True, first.converged) == (True, converges)
    assert "is already reported." in late.message


def test_every_rank_may_report_an_epoch_with_figures_of_its_own() -> None:
    job = PeersJob()
    trial = job.predict()
    job.report(trial, 10.0, metric=0.1, epoch=1)
    assert not job.report(trial, 11.0, metric=0.1, epoch=1).stop_train
    job.report(trial, 20.0, metric=0.1, epoch=2)
    assert not job.report(trial, 9.0, metric=0.2, epoch=1).stop_train
    assert job.report(trial, 30.0, epoch=3).converged


@pytest.mark.parametrize("metric", [float("nan"), float("inf"), -1.7e308])
def test_a_metric_that_is_no_number_is_that_of_a_run_that_diverged(metric: float) -> None:
    job = PeersJob(higher_is_better_metric=False)
    trial = job.predict()
    verdicts = [job.report(trial, float(epoch), metric=metric, epoch=epoch) for epoch in (1, 2, 3)]
    assert [verdict.stop_train for verdict in verdicts] == [False, False, True]
    assert not verdicts[-1].converged


def test_a_trial_that_ends_without_a_result_teaches_nothing_and_is_not_heard_of_again() -> None:
    job = PeersJob()
    trial = job.predict()
    job.end(trial)
    job.end(trial)
    assert job.state(trial) == "cancelled"
    assert job.report(trial, 1.0).stop_train
    again = job.predict()
    assert (again.batch_size, again.trial_number) == (trial.batch_size, 2)
    job.report(again, 100.0)
    job.end(again)
    assert job.state(again) == "converged"


def test_a_trainer_that_was_killed_holds_exploration_up_until_its_lease_ends() -> None:
    job = PeersJob()
    job.report(job.predict(), 100.0)
    lost = job.predict()
    assert (lost.batch_size, job.predict().batch_size) == (16, 32)
    job.clock.turn(LEASE + timedelta(seconds=1))
    assert (job.predict().batch_size, job.state(lost)) == (16, "abandoned")


def test_a_batch_size_that_crashes_is_asked_for_again_as_published() -> None:
    job = PeersJob()
    for _ in range(5):
        trial = job.predict()
        assert trial.batch_size == 32
        job.end(trial)


def test_no_trial_is_found_by_a_wrong_number_or_batch_size() -> None:
    job = PeersJob()
    trial = job.predict()
    for wrong in ({"batch_size": 8}, {"trial_number": 2}):
        with pytest.raises(TrialNotFound):
            job.end(trial.model_copy(update=wrong))


def test_our_recommender_takes_the_job_over_with_its_history_and_gives_it_back() -> None:
    job = PeersJob()
    for cost in (100.0, 120.0, 140.0):
        job.report(job.predict(), cost)
    beside = job.predict(), job.predict()
    before = job.memory.job.states
    job.update(policy="rheostat")
    (placement,) = job.memory.job.placements.values()
    assert job.memory.job.states[placement.key]["batch_size"] != before[placement.key]["batch_size"]
    for trial in beside:
        job.report(trial, 150.0)
    job.update(policy="zeus")
    assert job.memory.job.view(placement).published is not None


@settings_of_hypothesis(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(["predict", "good", "bad", "end"]), st.integers(0, 9)), max_size=40))
def test_a_rebuild_derives_the_same_state(events: list[tuple[str, int]]) -> None:
    job = PeersJob()
    running: list[ZeusTrial] = []
    for event, which in events:
        if event == "predict" or not running:
            running.append(job.predict())
            continue
        trial = running.pop(which % len(running))
        if event == "end":
            job.end(trial)
        else:
            job.report(trial, 100.0 + which, metric=0.6 if event == "good" else 0.1, epoch=10)
    before = job.memory.job.states
    job.memory.change(lambda value, history: registration.rebuild(value, history, job.clock()))
    assert job.memory.job.states == before
