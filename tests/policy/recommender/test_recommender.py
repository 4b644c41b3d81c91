"""The recommender as a job meets it: what it chooses, what it stops, and what it makes of trouble."""

import json
import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rheostat.errors import NoBatchSizeLeft
from rheostat.policy.advisor import Advisor, Stores
from rheostat.policy.interface import Job, Result, Situation, State, TrialState
from rheostat.policy.learning_curve import LearningCurve
from rheostat.policy.recommender.optimizer import POLICY, Recommender
from rheostat.policy.registry import load_policy
from tests.policy.examples import JsonStore, a_job
from tests.policy.recommender.trainer import ACCURACY, EPOCHS, SIZES, Trainer


class CopyingStore(JsonStore):
    """Gives out another copy each time, so that nothing is known to be the same."""

    def __getitem__(self, job: Job) -> State:
        return deepcopy(super().__getitem__(job))


@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
def test_a_policy_that_says_so_never_changes_a_state_in_place(policy: str) -> None:
    stores = Stores(WatchedStore(), WatchedStore(), WatchedStore())
    loaded = load_policy(policy)
    assert loaded.batch_size.replaces_state
    assert loaded.power_limit.replaces_state
    trainer = Trainer(joules={8: 300.0, 16: 250.0}, advisor=Advisor(loaded, stores))
    trainer.recur(15)
    trainer.advisor.estimates(trainer.job)
    for store in (stores.batch_size, stores.power_limit, stores.cost_bound):
        assert isinstance(store, WatchedStore)
        assert store.texts == {job: json.dumps(state) for job, state in store.items()}
        assert store.texts


class WatchedStore(JsonStore):
    """Notes what was set, to be compared with what it became."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[Job, str] = {}

    def __setitem__(self, job: Job, state: State) -> None:
        super().__setitem__(job, state)
        self.texts[job] = json.dumps(state)


def reason(trainer: Trainer, *pending: int) -> str:
    return trainer.advisor.choose(trainer.job, Situation(SIZES, pending)).reason


def test_the_first_run_is_the_default_and_is_never_stopped() -> None:
    trainer = Trainer(epochs={32: 99})
    assert trainer.choose() == 32
    assert "nothing has converged yet" in reason(trainer)
    assert trainer.run(32) == "converged"


def test_the_best_batch_size_is_found_in_few_runs_and_kept() -> None:
    trainer = Trainer()
    assert set(trainer.recur(30)[-20:]) == {16}
    assert len(trainer.trials) <= 33


def test_without_power_measurements_the_runs_themselves_tell_what_an_epoch_costs() -> None:
    trainer = Trainer(with_power=False, joules={8: 300.0, 16: 250.0})
    assert set(trainer.recur(30)[-20:]) == {32}


def test_a_hopeless_run_is_stopped_long_before_its_cost_bound_and_the_words_say_why() -> None:
    trainer = Trainer()
    trainer.run(32)
    assert trainer.run(128) == "stopped"
    assert trainer.trials[-1][1] < 18
    curve = LearningCurve().add(6.0, 0.05, ACCURACY)
    verdict = trainer.advisor.assess(trainer.job, batch_size=64, epoch=6.0, metric=0.05, cost=600.0, curve=curve)
    assert (verdict.state, "learning curve" in verdict.reason) == ("stopped", True)


def test_without_a_beta_knob_no_run_is_stopped() -> None:
    trainer = Trainer(job=a_job(target=ACCURACY, beta_knob=None))
    trainer.run(32)
    assert trainer.run(128) == "converged"


def test_the_reason_says_what_is_expected_what_is_hoped_for_and_what_is_the_best_known() -> None:
    trainer = Trainer()
    trainer.run(32)
    exploring = reason(trainer)
    assert trainer.choose() != 32
    assert "expects" in exploring
    assert "hopes to learn what saves" in exploring
    assert "the best known is 32" in exploring
    trainer.recur(20)
    assert reason(trainer).startswith("the best known: expects")


def test_trials_in_flight_are_not_tried_twice() -> None:
    trainer = Trainer()
    trainer.run(32)
    first = trainer.choose()
    assert trainer.choose(first, first) != first


def test_first_runs_that_start_together_begin_with_the_defaults_neighbours() -> None:
    trainer = Trainer()
    chosen: list[int] = []
    for _ in range(6):
        chosen.append(trainer.choose(*chosen))
    assert chosen == [32, 16, 64, 8, 32, 32]
    assert "a batch size beside it" in reason(trainer, 32)


def test_a_first_run_that_fails_is_followed_by_smaller_batch_sizes_and_then_by_larger_ones() -> None:
    trainer = Trainer(epochs={128: 20})
    tried = []
    for _ in range(5):
        tried.append(trainer.choose())
        trainer.run(tried[-1])
    assert tried == [32, 16, 8, 64, 128]
    assert trainer.trials[-1][2] == "converged"
    assert trainer.recur(6)[-3:] == [128] * 3


def test_when_nothing_is_left_to_try_the_error_says_what_failed_and_what_to_do() -> None:
    trainer = Trainer(epochs={})
    for _ in range(2 * len(SIZES)):
        trainer.run(trainer.choose())
    assert [size for size, _, _ in trainer.trials] == [32, 16, 8, 64, 128] * 2
    with pytest.raises(NoBatchSizeLeft, match="no run of 8, 16, 32, 64, 128 reached the target") as caught:
        trainer.choose()
    assert "PATCH batch_sizes" in caught.value.hint


def test_what_the_memory_does_not_hold_is_left_out() -> None:
    trainer = Trainer()
    trainer.run(trainer.choose(permitted=(8, 16)))
    assert trainer.trials[0][0] == 16
    assert trainer.choose(permitted=(8, 16)) in (8, 16)


def test_a_job_with_one_batch_size_is_about_power_alone() -> None:
    trainer = Trainer()
    for _ in range(3):
        assert trainer.choose(permitted=(32,)) == 32
        assert trainer.run(32) == "converged"
    assert trainer.advisor.power(trainer.job, 32).power_limit_watts == 200


def test_a_job_without_a_target_looks_for_the_cheapest_epoch() -> None:
    trainer = Trainer(job=a_job(max_epochs=5), joules={8: 160.0, 16: 120.0, 32: 100.0, 64: 80.0, 128: 90.0})
    assert set(trainer.recur(25)[-10:]) == {64}
    (epochs,) = {arm.epochs.mean for arm in trainer.advisor.estimates(trainer.job)}
    assert epochs == pytest.approx(5.0, rel=1e-3)


@pytest.mark.parametrize("verdict", [True, None])
def test_whole_costs_alone_are_enough(verdict: bool | None) -> None:
    policy = Recommender(JsonStore())
    policy.register_job(a_job(), list(SIZES))
    costs = {8: 200.0, 16: 140.0, 32: 180.0, 64: 300.0, 128: 600.0}
    chosen = []
    for number in range(30):
        size = policy.predict(a_job())
        chosen.append(size)
        policy.observe(a_job(), size, costs[size] * (1.0 + 0.02 * (number % 3)), verdict)
    assert chosen[0] == 32
    assert set(chosen[-15:]) == {16}


def test_history_without_epochs_and_runs_with_them_are_one_evidence() -> None:
    trainer = Trainer(joules={8: 200.0, 16: 200.0, 64: 50.0})
    trainer.run(32)
    for _ in range(3):
        trainer.advisor.conclude(trainer.job, "converged", batch_size=16, cost=14.0 * 200.0)
    mean, low, high = trainer.estimate(16)
    assert low < 2800.0 < high
    assert mean == pytest.approx(2800.0, rel=0.2)


LIES: list[dict[str, float]] = [
    {"epochs_factor": 1e-3},
    {"cost_factor": 1e3},
    {"cost_factor": 1e-3},
    {"power_factor": 1e3},
    {"power_factor": 1e-3},
]


@pytest.mark.parametrize("lie", LIES, ids=str)
@pytest.mark.parametrize("at", [0, 1, 2, 5, 12])
@pytest.mark.parametrize("with_power", [True, False])
def test_one_absurd_run_does_no_lasting_harm(lie: dict[str, float], at: int, with_power: bool) -> None:
    trainer = Trainer(with_power=with_power)
    trainer.recur(at)
    trainer.run(trainer.choose(), **lie)
    after = len(trainer.trials)
    assert trainer.recur(25)[-10:].count(16) >= 9
    stopped = [trial for trial in trainer.trials[after:] if trial[2] == "stopped"]
    assert len(stopped) <= 6
    assert all(math.isfinite(figure) for size in SIZES for figure in trainer.estimate(size))


def test_one_run_that_claims_a_thousandth_of_the_epochs_stops_no_other() -> None:
    trainer = Trainer()
    trainer.recur(8)
    trainer.run(64, epochs_factor=1e-3)
    assert trainer.run(16) == "converged"
    assert trainer.run(32) == "converged"


def test_after_a_lasting_change_another_batch_size_is_found() -> None:
    trainer = Trainer()
    trainer.recur(30)
    trainer.epochs = {8: 60, 16: 42, 32: 18, 64: 25, 128: 60}
    assert set(trainer.recur(40)[-15:]) == {32}


def test_with_a_window_only_the_latest_runs_count() -> None:
    trainer = Trainer(job=a_job(target=ACCURACY, window_size=2), epochs=dict(EPOCHS) | {16: 17})
    for _ in range(4):
        trainer.run(16)
    trainer.epochs = {**trainer.epochs, 16: 20}
    for _ in range(2):
        trainer.run(16)
    assert trainer.estimate(16)[0] == pytest.approx(2000.0, rel=0.05)


def test_another_gpu_starts_at_the_batch_size_that_was_best_elsewhere() -> None:
    trainer = Trainer()
    trainer.recur(20)
    elsewhere = trainer.on(gpu_model="A40", gpu_count=2, max_power_watts=600.0)
    assert elsewhere.choose() == 16
    assert set(elsewhere.recur(10)) <= {8, 16, 32}
    assert elsewhere.choose(permitted=(32, 64, 128)) == 32


def test_a_drift_seen_on_one_gpu_is_one_on_all() -> None:
    trainer = Trainer()
    trainer.recur(30)
    elsewhere = trainer.on(gpu_model="A40")
    elsewhere.epochs = trainer.epochs = {8: 60, 16: 42, 32: 18, 64: 25, 128: 60}
    elsewhere.recur(40)
    assert trainer.recur(10)[-5:] == [32] * 5


def test_many_runs_in_vain_end_in_runs_that_are_not_stopped() -> None:
    trainer = Trainer()
    trainer.recur(20)
    trainer.epochs = {size: epochs * 5 for size, epochs in EPOCHS.items()}
    assert trainer.recur(6)[-1] in SIZES
    assert sum(state == "stopped" for _, _, state in trainer.trials[-15:]) <= 8


def test_estimates_tell_epochs_epoch_cost_cost_and_chances() -> None:
    trainer = Trainer()
    assert {arm.status for arm in trainer.advisor.estimates(trainer.job)} == {"nothing has converged yet"}
    trainer.recur(20)
    arms = {arm.batch_size: arm for arm in trainer.advisor.estimates(trainer.job)}
    assert arms[16].status == "best known"
    assert arms[16].epochs.mean == pytest.approx(14.0, rel=0.05)
    assert arms[16].epoch_cost.mean == pytest.approx(100.0, rel=0.01)
    assert arms[16].cost.mean == pytest.approx(1400.0, rel=0.05)
    chances = [arm.probability_best or 0.0 for arm in arms.values()]
    assert sum(chances) == pytest.approx(1.0)
    assert arms[16].probability_best == max(chances)
    assert "above the best known" in arms[32].status
    assert "converged" in arms[64].status or "not tried" in arms[64].status


def test_closed_arms_say_why_and_have_no_chance() -> None:
    trainer = Trainer()
    trainer.run(32)
    trainer.advisor.conclude(trainer.job, "failed", batch_size=64, cost=10_000.0, epochs=100.0)
    arms = {arm.batch_size: arm for arm in trainer.advisor.estimates(trainer.job)}
    assert arms[64].status == "closed: its runs did not converge"
    assert arms[128].status == "closed: 64 did not converge, and it lies beyond"
    assert arms[128].probability_best == 0.0


def test_a_crash_of_the_first_run_does_not_close_what_lies_beyond_it() -> None:
    trainer = Trainer(epochs={8: 40, 16: 30, 32: 18, 64: 14, 128: 10})
    trainer.advisor.conclude(trainer.job, "failed", batch_size=32, cost=None, epochs=None)
    assert trainer.choose() == 16
    assert trainer.recur(30)[-1] == 128


def test_a_gpu_that_cannot_run_what_converged_elsewhere_is_not_left_without_a_batch_size() -> None:
    trainer = Trainer(epochs={8: 90, 16: 80, 32: 70, 64: 20, 128: 18})
    trainer.run(64)
    trainer.run(64)
    ends = [trainer.run(trainer.choose(permitted=(8, 16, 32))) for _ in range(12)]
    assert ends[-1] == "converged"
    assert ends.count("stopped") <= 5


@pytest.mark.parametrize("epochs", [None, 0.0])
def test_the_best_batch_size_that_begins_to_crash_is_left(epochs: float | None) -> None:
    trainer = Trainer()
    trainer.recur(20)
    crashed = 0
    for _ in range(40):
        if (size := trainer.choose()) == 16:
            trainer.advisor.conclude(trainer.job, "failed", batch_size=16, cost=None, epochs=epochs)
            crashed += 1
        else:
            trainer.run(size)
    assert crashed < 15
    assert trainer.choose() == 32


def test_one_failure_after_absurdly_many_epochs_does_not_bend_what_is_believed_of_the_others() -> None:
    trainer = Trainer()
    trainer.run(32)
    trainer.advisor.conclude(trainer.job, "failed", batch_size=16, cost=1000.0, epochs=14_000.0)
    assert trainer.estimate(64)[0] > 0.5 * trainer.estimate(32)[0]


def test_with_a_window_old_failures_are_forgotten() -> None:
    trainer = Trainer(job=a_job(target=ACCURACY, window_size=3))
    for _ in range(3):
        trainer.run(16)
    trainer.advisor.conclude(trainer.job, "failed", batch_size=16, cost=10_000.0, epochs=100.0)
    dear = trainer.estimate(16)[0]
    for _ in range(12):
        trainer.run(16)
    assert trainer.estimate(16)[0] < 1600.0 < dear


def test_reports_past_the_last_epoch_of_a_job_without_a_target_are_no_drift() -> None:
    trainer = Trainer(job=a_job(max_epochs=15))
    for _ in range(12):
        trainer.advisor.conclude(trainer.job, "converged", batch_size=32, cost=2000.0, epochs=20.0)
    trainer.advisor.conclude(trainer.job, "converged", batch_size=16, cost=1000.0, epochs=20.0)
    assert {arm.batch_size: arm.status for arm in trainer.advisor.estimates(trainer.job)}[16] == "best known"


def test_on_a_gpu_where_nothing_was_measured_no_cost_is_claimed() -> None:
    trainer = Trainer()
    trainer.recur(10)
    elsewhere = trainer.on(gpu_model="A40")
    arms = elsewhere.advisor.estimates(elsewhere.job)
    assert {arm.cost.mean for arm in arms} == {None}
    assert all(arm.epochs.mean for arm in arms)
    for size in SIZES:
        elsewhere.advisor.conclude(elsewhere.job, "converged", batch_size=size, cost=EPOCHS[size] * 70.0)
    assert elsewhere.estimate(16)[0] == pytest.approx(14 * 70.0, rel=0.1)


def test_out_of_memory_teaches_nothing_of_the_epochs() -> None:
    trainer = Trainer()
    trainer.run(32)
    before = trainer.estimate(128)
    trainer.advisor.conclude(trainer.job, "oom", batch_size=128, cost=None, epochs=None)
    assert trainer.estimate(128) == before


def test_a_batch_size_that_often_fails_pays_for_its_failures() -> None:
    trainer = Trainer()
    trainer.recur(10)
    sound = trainer.estimate(16)[0]
    for _ in range(3):
        trainer.advisor.conclude(trainer.job, "failed", batch_size=16, cost=10_000.0, epochs=100.0)
        trainer.run(16)
    assert trainer.estimate(16)[0] > 1.5 * sound
    assert trainer.choose() == 32


def test_what_is_remembered_does_not_grow_with_the_runs() -> None:
    store: dict[Any, State] = {}
    policy = Recommender(store)
    policy.register_job(a_job(), list(SIZES))
    sizes = []
    for number in range(600):
        policy.conclude(a_job(target=ACCURACY), Result(SIZES[number % 5], 100.0 + number % 7, "converged", 10.0))
        sizes.append(len(json.dumps(store[a_job()])))
    assert sizes[-1] < 1.1 * sizes[20]


states: st.SearchStrategy[TrialState | None] = st.sampled_from(["converged", "failed", "stopped", "oom", None])
points = st.lists(st.tuples(st.floats(0.01, 1e6), st.floats(-1e300, 1e300)), max_size=5)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(SIZES), st.floats(0, 1e15), states, st.none() | st.floats(0, 1e6), points),
        max_size=25,
    ),
    st.sampled_from([0, 1, 3]),
    st.sampled_from([None, 1.0, 2.0, 1e6]),
)
def test_whatever_is_reported_every_answer_is_finite_and_permitted(
    results: list[tuple[int, float, TrialState | None, float | None, list[tuple[float, float]]]],
    window: int,
    beta: float | None,
) -> None:
    job = a_job(target=ACCURACY, window_size=window, beta_knob=beta)
    policy = Recommender(JsonStore())
    policy.register_job(job, list(SIZES))
    for size, cost, state, epochs, evaluations in results:
        curve = LearningCurve()
        for epoch, metric in sorted(evaluations):
            curve = curve.add(epoch, metric, ACCURACY)
        policy.conclude(job, Result(size, cost, state, epochs, curve))
    try:
        assert policy.choose(job, Situation(SIZES, (8, 64))).batch_size in SIZES
    except NoBatchSizeLeft:
        assert all(state not in ("converged", None) for _, _, state, _, _ in results)
    for arm in policy.estimates(job):
        for estimate in (arm.cost, arm.epochs, arm.epoch_cost):
            assert estimate.mean is None or math.isfinite(estimate.mean)


def test_knobs_may_be_turned_without_losing_what_was_learnt() -> None:
    trainer = Trainer()
    trainer.recur(20)
    turned = Trainer.__new__(Trainer)
    turned.__dict__.update(trainer.__dict__ | {"job": replace(trainer.job, beta_knob=4.0, max_slowdown=1.2)})
    assert turned.choose() == 16


def test_what_is_worked_out_once_is_what_it_would_be_worked_out_to_anew() -> None:
    told: Mapping[int, float] = {8: 300.0, 16: 250.0}
    once = Trainer(joules=told)
    anew = Trainer(joules=told, advisor=Advisor(POLICY, Stores(CopyingStore(), CopyingStore(), CopyingStore())))
    assert once.recur(15) == anew.recur(15)
    assert once.trials == anew.trials
    assert once.advisor.estimates(once.job) == anew.advisor.estimates(anew.job)
