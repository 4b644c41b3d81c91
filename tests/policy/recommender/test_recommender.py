"""The recommender over many recurrences: what it settles on, and what it does when something goes wrong."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rheostat.errors import NoBatchSizeLeft
from rheostat.policy.advisor import Advisor, Stores
from rheostat.policy.interface import Job, Result, Situation, State, TrialState
from rheostat.policy.learning_curve import LearningCurve
from rheostat.policy.recommender.optimizer import Recommender
from rheostat.policy.registry import load_policy
from tests.policy.examples import JsonStore, a_job
from tests.policy.recommender.trainer import ACCURACY, EPOCHS, SIZES, Trainer


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


def test_the_best_batch_size_is_found_in_few_runs_and_kept() -> None:
    trainer = Trainer()
    assert set(trainer.recur(30)[-20:]) == {16}
    assert len(trainer.trials) <= 33


def test_without_power_measurements_epoch_costs_are_learnt_from_the_runs() -> None:
    trainer = Trainer(with_power=False, joules={8: 300.0, 16: 250.0})
    assert set(trainer.recur(30)[-20:]) == {32}


def test_a_job_without_a_target_looks_for_the_cheapest_epoch() -> None:
    trainer = Trainer(job=a_job(max_epochs=5), joules={8: 160.0, 16: 120.0, 32: 100.0, 64: 80.0, 128: 90.0})
    assert set(trainer.recur(25)[-10:]) == {64}
    (epochs,) = {arm.epochs.mean for arm in trainer.advisor.estimates(trainer.job)}
    assert epochs == pytest.approx(5.0, rel=1e-3)


@pytest.mark.parametrize("verdict", [True, None])
def test_whole_costs_alone_are_enough(verdict: bool | None) -> None:
    policy, job = Recommender(JsonStore()), a_job(exploration_budget_runs=None)
    policy.register_job(job, list(SIZES))
    costs = {8: 200.0, 16: 140.0, 32: 180.0, 64: 300.0, 128: 600.0}
    chosen = []
    for number in range(30):
        size = policy.predict(job)
        chosen.append(size)
        policy.observe(job, size, costs[size] * (1.0 + 0.02 * (number % 3)), verdict)
    assert chosen[0] == 32
    assert set(chosen[-15:]) == {16}


FALSE_REPORTS: list[dict[str, float]] = [
    {"epochs_factor": 1e-3},
    {"cost_factor": 1e3},
    {"cost_factor": 1e-3},
    {"power_factor": 1e3},
    {"power_factor": 1e-3},
]


@pytest.mark.parametrize("false_report", FALSE_REPORTS, ids=str)
@pytest.mark.parametrize("at", [0, 1, 2, 5, 12])
@pytest.mark.parametrize("with_power", [True, False])
def test_one_absurd_run_does_no_lasting_harm(false_report: dict[str, float], at: int, with_power: bool) -> None:
    job = a_job(target=ACCURACY, max_epochs=100, exploration_budget_runs=None)  # what is lost meanwhile is lost
    trainer = Trainer(job=job, with_power=with_power)
    trainer.recur(at)
    trainer.run(trainer.choose(), **false_report)
    after = len(trainer.trials)
    assert trainer.recur(25)[-10:].count(16) >= 9
    stopped = [trial for trial in trainer.trials[after:] if trial[2] == "stopped"]
    assert len(stopped) <= 6
    assert all(math.isfinite(figure) for size in SIZES for figure in trainer.estimate(size))


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
