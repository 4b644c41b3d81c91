"""The published baseline: explore with pruning, then sample; measure every power limit once, then keep the best."""

import json
from collections.abc import Callable, MutableMapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rheostat.policy.cost import PowerMeasurement
from rheostat.policy.estimates import UNKNOWN
from rheostat.policy.interface import Choice, Job, Situation, State
from rheostat.policy.zeus import JustInTimePowerLimit, PruningThompsonSampling
from tests.policy.examples import JsonStore, a_job

SIZES = (8, 16, 32, 64)

World = Callable[[int, np.random.Generator], tuple[float, bool]]
"""What a run of a batch size costs, and whether it converges."""


def optimizer(
    sizes: tuple[int, ...] = SIZES, store: MutableMapping[Job, State] | None = None
) -> PruningThompsonSampling:
    made = PruningThompsonSampling({} if store is None else store)
    made.register_job(a_job(), list(sizes))
    return made


def steady(costs: dict[int, float], noise: float = 0.01, failing: tuple[int, ...] = ()) -> World:
    def run(size: int, random: np.random.Generator) -> tuple[float, bool]:
        return costs[size] * (1.0 + noise * random.standard_normal()), size not in failing

    return run


def live(policy: PruningThompsonSampling, world: World, trials: int, first: int = 1, **job: object) -> list[Choice]:
    """Run trials one after the other and return what was chosen."""
    choices = []
    random = np.random.default_rng(first)
    for number in range(first, first + trials):
        at = a_job(trial_number=number, **job)
        choice = policy.choose(at, Situation(SIZES))
        choices.append(choice)
        cost, converged = world(choice.batch_size, random)
        policy.observe(at, choice.batch_size, cost, converged)
    return choices


def sizes_of(choices: list[Choice]) -> list[int]:
    return [choice.batch_size for choice in choices]


DEARER_WITH_SIZE = {8: 100.0, 16: 110.0, 32: 120.0, 64: 130.0}


def test_two_rounds_of_exploration_come_first() -> None:
    assert sizes_of(live(optimizer(), steady(DEARER_WITH_SIZE), 8)) == [32, 16, 8, 64, 8, 16, 32, 64]


def test_then_it_mostly_runs_the_cheapest() -> None:
    later = sizes_of(live(optimizer(), steady(DEARER_WITH_SIZE), 108))[8:]
    assert later.count(8) > 90


def test_arms_with_similar_costs_keep_being_compared() -> None:
    level = {8: 100.0, 16: 100.0, 32: 500.0, 64: 500.0}
    later = sizes_of(live(optimizer(), steady(level, noise=0.1), 208))[8:]
    assert later.count(8) + later.count(16) > 190
    assert min(later.count(8), later.count(16)) > 10


def test_a_batch_size_that_failed_is_never_sampled() -> None:
    chosen = sizes_of(live(optimizer(), steady(DEARER_WITH_SIZE, failing=(8, 64)), 100))
    assert chosen.count(8) == chosen.count(64) == 1


def test_a_run_without_a_verdict_counts_as_converged() -> None:
    policy = optimizer((32,))
    policy.observe(a_job(), 32, 100.0)
    policy.observe(a_job(), 32, 120.0, None)
    assert policy.choose(a_job(trial_number=3), Situation((32,))).reason.startswith("Thompson sampling")


def test_when_everything_failed_it_starts_over() -> None:
    policy = optimizer()
    failed = sizes_of(live(policy, steady(DEARER_WITH_SIZE, failing=SIZES), 4))
    assert sorted(failed) == sorted(SIZES)
    assert sizes_of(live(policy, steady(DEARER_WITH_SIZE), 3, first=5)) == [32, 16, 8]


def test_with_a_window_old_costs_are_forgotten() -> None:
    before = {8: 100.0, 16: 200.0, 32: 200.0, 64: 200.0}
    after = {8: 400.0, 16: 200.0, 32: 200.0, 64: 200.0}
    policy = optimizer()
    live(policy, steady(before, noise=0.05), 200, window_size=5)
    assert sizes_of(live(policy, steady(after, noise=0.05), 30, first=201, window_size=5))[-10:].count(8) == 0


def test_the_same_seed_and_trial_number_decide_the_same() -> None:
    level = steady(dict.fromkeys(SIZES, 100.0), noise=0.1)
    assert live(optimizer(), level, 60) == live(optimizer(), level, 60)
    assert live(optimizer(), level, 60) != live(optimizer(), level, 60, seed=8)


def test_asking_twice_changes_nothing() -> None:
    policy = optimizer()
    assert policy.choose(a_job(), Situation(SIZES)) == policy.choose(a_job(), Situation(SIZES))
    assert policy.predict(a_job()) == 32


def test_trials_that_start_together_explore_different_batch_sizes() -> None:
    policy = optimizer()
    pending: list[int] = []
    for number in range(1, 5):
        situation = Situation(SIZES, pending=tuple(pending))
        pending.append(policy.choose(a_job(trial_number=number), situation).batch_size)
    assert sorted(pending) == sorted(SIZES)


def test_with_all_taken_a_further_trial_runs_the_default_and_later_the_cheapest_so_far() -> None:
    policy = optimizer()
    assert policy.choose(a_job(), Situation(SIZES, pending=SIZES)).batch_size == 32
    policy.observe(a_job(), 64, 90.0, converged=True)
    policy.observe(a_job(), 32, 100.0, converged=True)
    policy.observe(a_job(), 8, 1.0, converged=False)
    assert policy.choose(a_job(trial_number=4), Situation(SIZES, pending=SIZES)).batch_size == 64


def test_a_trial_that_never_reports_holds_nothing_up() -> None:
    policy = optimizer()
    lost = policy.choose(a_job(), Situation(SIZES)).batch_size
    assert policy.choose(a_job(trial_number=2), Situation(SIZES)).batch_size == lost


def test_two_placements_of_a_job_learn_apart() -> None:
    policy = optimizer()
    other = a_job(gpu_model="A100")
    policy.register_job(other, list(SIZES))
    live(policy, steady(DEARER_WITH_SIZE), 8)
    assert policy.predict(other) == 32


def test_a_default_that_runs_out_of_memory_does_not_end_the_learning() -> None:
    policy = optimizer()
    policy.observe(a_job(), 32, 0.0, converged=False)
    chosen = []
    for number in range(2, 20):
        at = a_job(trial_number=number)
        chosen.append(policy.choose(at, Situation((8, 16))).batch_size)
        policy.observe(at, chosen[-1], {8: 100.0, 16: 150.0}[chosen[-1]], converged=True)
    assert chosen[-1] == 8


def test_one_lucky_run_does_not_decide_for_good_on_a_gpu_that_cannot_run_all_batch_sizes() -> None:
    policy = optimizer()
    chosen: list[int] = []
    for number in range(1, 60):
        at = a_job(trial_number=number)
        chosen.append(policy.choose(at, Situation((8, 16, 32))).batch_size)
        lucky = chosen[-1] == 32 and chosen.count(32) == 1
        policy.observe(at, chosen[-1], 60.0 if lucky else DEARER_WITH_SIZE[chosen[-1]], converged=True)
    assert chosen[-20:].count(8) > 10


def test_it_starts_over_too_when_all_that_fits_the_gpu_has_failed() -> None:
    policy = optimizer()
    policy.observe(a_job(), 32, 0.0, converged=False)
    chosen = []
    for number in range(2, 20):
        at = a_job(trial_number=number)
        chosen.append(policy.choose(at, Situation((8, 16))).batch_size)
        policy.observe(at, chosen[-1], {8: 100.0, 16: 150.0}[chosen[-1]], converged=number > 3)
    assert chosen[-1] == 8


results = st.lists(
    st.tuples(st.floats(0, 1e15), st.sampled_from([True, True, True, False, None]), st.integers(0, 4)),
    max_size=40,
)


@given(results, st.integers(0, 3))
def test_decisions_are_the_same_with_a_store_of_json(
    reported: list[tuple[float, bool | None, int]], window_size: int
) -> None:
    plain, stored = optimizer(), optimizer(store=JsonStore())
    pending: list[int] = []
    for number, (cost, converged, pending_count) in enumerate(reported, 1):
        at = a_job(trial_number=number, window_size=window_size)
        situation = Situation(SIZES, pending=tuple(pending[-pending_count:] if pending_count else ()))
        choice = plain.choose(at, situation)
        assert stored.choose(at, situation) == choice
        for policy in (plain, stored):
            policy.observe(at, choice.batch_size, cost, converged)
        assert stored.estimates(at) == plain.estimates(at)
        pending.append(choice.batch_size)


def test_a_decision_after_many_trials_reads_no_more_than_after_few() -> None:
    store: dict[Job, State] = {}
    policy = optimizer(store=store)
    live(policy, steady(DEARER_WITH_SIZE), 100)
    few = len(json.dumps(store[a_job()]))
    live(policy, steady(DEARER_WITH_SIZE), 900, first=101)
    assert len(json.dumps(store[a_job()])) < 1.1 * few


def test_estimates_give_mean_and_interval_of_each_arm() -> None:
    policy = optimizer()
    assert {(arm.runs, arm.cost, arm.status) for arm in policy.estimates(a_job())} == {(0, UNKNOWN, "open")}
    live(policy, steady(DEARER_WITH_SIZE, failing=(64,)), 200)
    arms = {arm.batch_size: arm for arm in policy.estimates(a_job())}
    assert sum(arm.runs for arm in arms.values()) == 200
    assert (arms[64].status, arms[8].status) == ("pruned", "sampled")
    assert (arms[64].runs, arms[64].cost.low) == (1, None)
    assert arms[8].cost.mean == pytest.approx(100.0, rel=0.01)
    assert arms[8].cost.low is not None
    assert arms[8].cost.high is not None
    assert arms[8].cost.low < 100.0 < arms[8].cost.high


def test_the_interval_holds_the_expected_cost_about_95_times_in_100() -> None:
    held = 0
    for repetition in range(400):
        policy = optimizer((32,))
        for cost in np.random.default_rng(repetition).normal(100.0, 10.0, 30):
            policy.observe(a_job(), 32, float(cost), converged=True)
        (arm,) = policy.estimates(a_job())
        assert arm.cost.low is not None
        assert arm.cost.high is not None
        held += arm.cost.low <= 100.0 <= arm.cost.high
    assert 0.90 < held / 400 < 0.98


LIMITS = {
    300: PowerMeasurement(300, cost=100.0, time_seconds=10.0, energy_joules=90.0),
    200: PowerMeasurement(200, cost=80.0, time_seconds=11.0, energy_joules=70.0),
    100: PowerMeasurement(100, cost=95.0, time_seconds=15.0, energy_joules=60.0),
}


def measured(*limits: int, batch_size: int = 32) -> JustInTimePowerLimit:
    policy = JustInTimePowerLimit(JsonStore())
    for limit in limits:
        policy.measure(a_job(), batch_size, LIMITS[limit])
    return policy


def test_all_limits_are_to_be_measured_from_the_highest_down() -> None:
    assert measured().predict(a_job(), 32) is None
    assert measured().plan(a_job(), 32) == (300, 200, 100)
    assert measured(300).plan(a_job(), 32) == (200, 100)


def test_once_all_are_measured_the_best_is_kept() -> None:
    policy = measured(300, 100, 200)
    assert policy.plan(a_job(), 32) == ()
    assert policy.predict(a_job(), 32) == 200
    assert policy.predict(a_job(max_slowdown=1.05), 32) == 300


def test_each_batch_size_is_measured_by_itself() -> None:
    assert measured(300, 200, 100).predict(a_job(), 64) is None


def test_a_cost_alone_is_measurement_enough() -> None:
    policy = JustInTimePowerLimit(JsonStore())
    for limit, cost in ((300, 3.0), (200, 2.0), (100, 1.0)):
        policy.observe(a_job(), 32, limit, cost)
    assert policy.predict(a_job(), 32) == 100


def test_a_limit_measured_again_replaces_the_earlier_figure() -> None:
    policy = measured(300, 200, 100)
    policy.observe(a_job(), 32, 300, 1.0)
    assert policy.predict(a_job(), 32) == 300


def test_a_limit_that_is_permitted_later_is_measured_then() -> None:
    policy = measured(300, 200, 100)
    assert policy.predict(a_job(power_limits_watts=(300, 250, 200)), 32) is None
    assert policy.plan(a_job(power_limits_watts=(300, 250, 200)), 32) == (250,)


def test_a_limit_that_is_no_longer_permitted_is_not_chosen() -> None:
    assert measured(300, 200, 100).predict(a_job(power_limits_watts=(300, 100)), 32) == 100


def test_there_is_no_best_limit_where_none_may_be_set() -> None:
    assert measured(300).predict(a_job(power_limits_watts=()), 32) is None


def test_a_cost_is_predicted_once_two_runs_differ() -> None:
    policy, job = optimizer(), a_job()
    for cost in (100.0, 100.0):
        assert policy.predicted_cost(job, 32) is None
        policy.observe(job, 32, cost, True)
    assert policy.predicted_cost(job, 32) is None
    policy.observe(job, 32, 130.0, True)
    said = policy.predicted_cost(job, 32)
    assert said is not None
    assert (said.quantile(0.025) < 100.0, said.quantile(0.975) > 130.0) == (True, True)
