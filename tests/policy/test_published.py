"""The policy `zeus` with the published knobs: one exploration at a time, in the published order and by its rules."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rheostat.policy.interface import Choice, Job, Progress, Result, Situation, TrialState
from rheostat.policy.learning_curve import LearningCurve
from rheostat.policy.published import Prior, Published
from rheostat.policy.thompson import ArmCosts, sample_lowest
from rheostat.policy.zeus import PruningThompsonSampling
from tests.policy.examples import JsonStore, a_job

SIZES = (8, 16, 32, 64)
LEVEL = dict.fromkeys(SIZES, 100.0)
NaN = LearningCurve().diverged_again()


def published(knobs: Published | None = None, **changes: Any) -> Job:
    return a_job(published=knobs or Published(), **changes)


class Explored:
    """A job that is explored as published, with the trials that run."""

    def __init__(self, **knobs: Any) -> None:
        self.job = published(Published(**knobs))
        self.policy = PruningThompsonSampling(JsonStore())
        self.policy.register_job(self.job, list(SIZES))
        self.running: list[Choice] = []

    def begin(self) -> Choice:
        exploring = tuple(one.batch_size for one in self.running if not one.beside_exploration)
        pending = tuple(one.batch_size for one in self.running)
        self.running.append(self.policy.choose(self.job, Situation(SIZES, pending, exploring)))
        return self.running[-1]

    def end(self, trial: Choice, cost: float, state: TrialState = "converged", curve: LearningCurve = NaN) -> None:
        self.running.remove(trial)
        result = Result(trial.batch_size, cost, state, curve=curve, beside_exploration=trial.beside_exploration)
        self.policy.conclude(self.job, result)

    def run(self, costs: dict[int, float], failing: tuple[int, ...] = ()) -> int:
        trial = self.begin()
        self.end(trial, costs[trial.batch_size], "failed" if trial.batch_size in failing else "converged")
        return trial.batch_size


def test_a_second_trial_runs_the_default_while_the_first_explores_it() -> None:
    job = Explored()
    first, second = job.begin(), job.begin()
    assert (first.batch_size, first.beside_exploration) == (32, False)
    assert (second.batch_size, second.beside_exploration) == (32, True)


def test_beside_an_exploration_the_cheapest_batch_size_runs_that_has_converged_in_any_run() -> None:
    job = Explored()
    default, beside = job.begin(), job.begin()
    job.end(default, 100.0)
    down = job.begin()
    assert (down.batch_size, job.begin().batch_size) == (16, 32)
    job.end(down, 120.0)
    job.end(beside, 130.0)
    assert (job.begin().batch_size, job.begin().batch_size) == (8, 32)
    cheap = next(one for one in job.running if one.batch_size == 8)
    job.end(cheap, 50.0)
    assert (job.begin().batch_size, job.begin().batch_size) == (64, 8)


def test_a_run_beside_an_exploration_moves_it_neither_on_nor_back() -> None:
    job = Explored()
    first, beside, late = job.begin(), job.begin(), job.begin()
    job.end(beside, 90.0)
    assert job.begin().beside_exploration
    job.end(first, 100.0, "failed")
    job.end(late, 80.0)  # the batch size that failed converges beside the next exploration
    assert job.begin().batch_size == 64


def test_an_exploration_that_ended_without_a_result_is_made_again() -> None:
    job = Explored()
    job.running.remove(job.begin())
    assert (job.begin().batch_size, job.running[-1].beside_exploration) == (32, False)


def test_a_run_that_diverged_is_not_forgiven() -> None:
    job = Explored()
    job.end(job.begin(), 100.0, "failed", NaN)
    assert job.begin().batch_size == 64


@settings(max_examples=40)
@given(
    st.lists(st.sampled_from(["begin", "end", "fail", "lose"]), max_size=60),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_what_runs_beside_explorations_never_changes_their_order(events: list[str], rounds: int, random: Any) -> None:
    crowded, serial = Explored(pruning_rounds=rounds), Explored(pruning_rounds=rounds)
    for event in events:
        if event == "begin" or not crowded.running:
            crowded.begin()
            continue
        trial = random.choice(crowded.running)
        if event == "lose":
            crowded.running.remove(trial)
            continue
        state: TrialState = "converged" if event == "end" else "failed"
        cost = random.uniform(50.0, 150.0)
        crowded.end(trial, cost, state)
        if not trial.beside_exploration and trial.reason.startswith("exploration"):
            expected = serial.begin()
            assert trial.batch_size == expected.batch_size
            serial.end(expected, cost, state)


@pytest.mark.parametrize("rounds", [1, 3])
def test_the_job_says_how_many_rounds_are_explored(rounds: int) -> None:
    job = Explored(pruning_rounds=rounds)
    explored = [job.run(LEVEL) for _ in range(4 * rounds)]
    assert [explored.count(size) for size in SIZES] == [rounds] * 4
    assert "exploration" not in job.begin().reason


def test_without_rounds_every_batch_size_is_sampled_once_it_has_the_results_that_it_needs() -> None:
    job = Explored(pruning_rounds=0, explorations=3)
    tried = [job.run(LEVEL) for _ in range(12)]
    assert [tried.count(size) for size in SIZES] == [3] * 4
    assert job.begin().reason.startswith("Thompson sampling")


def test_no_more_results_are_waited_for_than_the_window_keeps() -> None:
    policy = PruningThompsonSampling(JsonStore())
    job = published(window_size=2, knobs=Published(explorations=5))
    policy.register_job(job, [32])
    for _ in range(2):
        policy.conclude(job, Result(32, 100.0, "converged"))
    assert policy.choose(job, Situation((32,))).reason.startswith("Thompson sampling")


def test_an_arm_without_a_result_is_sampled_from_a_prior_and_tried_without_one() -> None:
    told = Explored(pruning_rounds=0, explorations=0, prior=Prior(10.0, 1.0))
    assert told.begin().reason.startswith("Thompson sampling")
    untold = Explored(pruning_rounds=0, explorations=0)
    assert {untold.run(LEVEL) for _ in range(4)} == set(SIZES)


def test_a_prior_and_costs_make_the_conjugate_posterior() -> None:
    arm = ArmCosts().add(90.0, 0).add(110.0, 0)  # a variance of 100, and so a precision of 0.02 of the mean
    mean, deviation = arm.belief(Prior(40.0, 0.06))
    assert mean == pytest.approx((0.02 * 100.0 + 0.06 * 40.0) / 0.08)
    assert deviation**-2 == pytest.approx(0.08)
    assert arm.belief() == (100.0, arm.standard_error)
    random = np.random.default_rng(1)
    assert sample_lowest({8: ArmCosts(), 16: ArmCosts().add(5.0, 0)}, random, Prior(1.0, 1e20))[0] == 8


@pytest.mark.parametrize(("cost", "is_rejected"), [(200.0, False), (200.1, True), (None, False)])
def test_a_run_is_stopped_once_its_cost_has_passed_the_bound_and_not_before(
    cost: float | None, is_rejected: bool
) -> None:
    policy, job = PruningThompsonSampling({}), published()
    progress = Progress(32, 5.0, 0.95, cost, 200.0)
    reason = policy.reject(job, progress)
    assert (reason is not None) == is_rejected
    assert reason is None or "cost upper bound" in reason
    assert policy.early_stop(job, progress) is None
    assert policy.reject(a_job(), progress) is None


def test_its_state_is_plain_json_and_a_fold() -> None:
    jobs = [Explored(), Explored()]
    for job in jobs:
        for _ in range(30):
            job.run({8: 90.0, 16: 95.0, 32: 100.0, 64: 300.0}, failing=(64,))
    states = [json.dumps(job.policy.store[job.job]) for job in jobs]
    assert states[0] == states[1]
    assert "lowest" in states[0]
