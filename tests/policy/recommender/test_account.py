"""The account against the default: what exploring cost, what better arms saved, and what is not risked any more."""

from dataclasses import replace

import numpy as np
import pytest

from rheostat.policy.cost import given_cost
from rheostat.policy.estimates import Account
from rheostat.policy.interface import Situation
from rheostat.policy.recommender import closing
from rheostat.policy.recommender.account import affordable, most_joules, open_account
from rheostat.policy.recommender.belief import Belief
from rheostat.policy.recommender.epochs import Posterior
from rheostat.policy.recommender.evidence import Arm, Evidence
from rheostat.policy.recommender.grid import Grid
from tests.policy.examples import a_job
from tests.policy.recommender.trainer import ACCURACY, EPOCHS, SIZES, Trainer

PRICE = a_job().price

GRID = Grid((16, 32, 64), 32)
DEFAULT = 1


def a_belief(*costs: float, deviation: float = 0.0, converged: tuple[bool, ...] = (True, True, True)) -> Belief:
    """Return what makes believe in these costs in joules."""
    covariance = np.diag([0.0 if done else deviation**2 for done in converged])
    nothing = Posterior(np.zeros(3), np.zeros((3, 3)))
    return Belief(
        GRID, Posterior(np.log(costs), covariance), nothing, 1e-6, converged, (True,) * 3, (1.0,) * 3, np.zeros(3)
    )


def test_converged_runs_count_by_what_is_expected_of_their_arm_and_all_others_by_their_cost() -> None:
    evidence = Evidence({16: Arm(paid=4), 32: Arm(paid=9), 64: Arm(paid=1)}, wasted=given_cost(150.0))
    account = open_account(evidence, PRICE, a_belief(80.0, 100.0, 130.0), DEFAULT, 1.0)
    assert account.balance_runs == pytest.approx(4 * 0.2 - 0.3 - 1.5)
    assert account.left_runs == pytest.approx(0.0)
    assert account.default_cost_joules == pytest.approx(100.0)


def test_a_job_that_goes_on_for_long_may_lose_one_run_in_a_hundred() -> None:
    evidence = Evidence({16: Arm(), 32: Arm(paid=300), 64: Arm()})
    assert open_account(evidence, PRICE, a_belief(80.0, 100.0, 130.0), DEFAULT, 0.5).budget_runs == pytest.approx(1.5)


def test_when_evidence_turns_out_to_be_wrong_the_account_starts_anew() -> None:
    evidence = closing.reopened(Evidence({16: Arm(), 32: Arm(paid=9), 64: Arm(paid=3)}, wasted=given_cost(900.0)))
    assert open_account(evidence, PRICE, a_belief(80.0, 100.0, 130.0), DEFAULT, 1.0).balance_runs == 0.0


def test_what_may_lose_more_than_is_left_is_not_explored() -> None:
    belief = a_belief(90.0, 100.0, 100.0, deviation=0.8, converged=(True, True, False))
    assert affordable(Account(0.0, 1.0, 100.0), belief, 0, [], 2.0)[2]
    assert not affordable(Account(-0.9, 1.0, 100.0), belief, 0, [], 2.0)[2]
    assert affordable(Account(-0.9, None, 100.0), belief, 0, [], 2.0)[2]


def test_what_is_worth_far_more_than_it_may_lose_may_take_the_account_somewhat_beyond_the_budget() -> None:
    belief = a_belief(90.0, 100.0, 100.0, deviation=0.2, converged=(True, True, False))
    account = Account(-1.0, 1.0, 100.0)
    assert not affordable(account, belief, 0, [], 2.0)[2]
    assert not affordable(account, belief, 0, [], 2.0, worth=[0.0, 0.0, 2.0])[2]
    assert affordable(account, belief, 0, [], 2.0, worth=[0.0, 0.0, 20.0])[2]
    assert not affordable(Account(-1.5, 1.0, 100.0), belief, 0, [], 2.0, worth=[0.0, 0.0, 1000.0])[2]


def test_what_can_lose_nothing_runs_even_when_nothing_is_left() -> None:
    assert affordable(Account(-3.0, 1.0, 100.0), a_belief(90.0, 100.0, 95.0), 0, [], 2.0)[2]


def test_a_long_start_up_does_not_make_a_somewhat_dearer_arm_one_that_wastes_a_whole_run() -> None:
    belief = a_belief(90.0, 100.0, 160.0, deviation=0.2, converged=(True, True, False))
    slow_to_start = replace(belief, fixed_cost=900.0)
    assert not affordable(Account(-0.7, 1.0, 100.0), belief, 0, [], 2.0)[2]
    assert affordable(Account(-0.7, 1.0, 1000.0), slow_to_start, 0, [], 2.0)[2]


def test_trials_in_flight_may_lose_as_much() -> None:
    belief = a_belief(90.0, 100.0, 100.0, deviation=0.8, converged=(True, True, False))
    assert not affordable(Account(0.0, 1.0, 100.0), belief, 0, [2], 2.0)[2]


def test_without_a_budget_of_any_run_nothing_is_explored() -> None:
    assert affordable(Account(5.0, 0.0, 100.0), a_belief(90.0, 100.0, 95.0), 0, [], 2.0) == [False] * 3


def test_an_exploration_as_good_as_the_default_is_never_thrown_away() -> None:
    assert most_joules(Account(-2.0, 1.0, 100.0)) == pytest.approx(110.0)
    assert most_joules(Account(0.5, 1.0, 100.0)) == pytest.approx(200.0)


def behind(trainer: Trainer) -> float:
    """Return how far behind the default the trials were at the worst, in its runs."""
    worst = lost = 0.0
    for size, epochs, state in trainer.trials:
        lost += epochs * trainer.cost_of_epoch(size) / (EPOCHS[32] * trainer.cost_of_epoch(32)) - (state == "converged")
        worst = max(worst, lost)
    return worst


@pytest.mark.parametrize("slower", [{8: 70, 16: 35, 64: 35, 128: 70}, {}])
def test_where_the_default_is_the_best_exploring_ends_before_it_costs_two_runs(slower: dict[int, float]) -> None:
    trainer = Trainer(epochs={32: 18, **slower})
    trainer.recur(60)
    assert behind(trainer) < 1.6
    account = trainer.advisor.account(trainer.job)
    assert account is not None
    assert -1.6 < account.balance_runs < 0.1


def test_a_job_without_a_budget_never_leaves_the_default() -> None:
    trainer = Trainer(job=a_job(target=ACCURACY, exploration_budget_runs=0.0))
    assert set(trainer.recur(20)) == {32}
    assert all(size == 32 for size, _, _ in trainer.trials)


def test_a_bound_that_holds_an_exploration_back_is_named_in_the_reason() -> None:
    trainer = Trainer(epochs={32: 18})
    trainer.recur(2)
    trainer.job = replace(trainer.job, exploration_budget_runs=0.0)
    assert "of the budget of 0 runs of the default; so far" in reason(trainer)


def reason(trainer: Trainer) -> str:
    return trainer.advisor.choose(trainer.job, Situation(SIZES)).reason


def test_before_anything_has_converged_there_is_no_account() -> None:
    trainer = Trainer()
    assert trainer.advisor.account(trainer.job) is None


def balance(trainer: Trainer) -> float:
    account = trainer.advisor.account(trainer.job)
    assert account is not None
    return account.balance_runs


def test_a_run_of_all_its_epochs_is_charged_what_it_spent_and_not_what_the_bound_would_have_let_it_spend() -> None:
    trainer = Trainer(epochs={32: 18}, joules={128: 5.0})
    trainer.run(32)
    trainer.measure(128)
    trainer.advisor.conclude(trainer.job, "failed", batch_size=128, cost=500.0, epochs=100.0)
    assert balance(trainer) == pytest.approx(-500.0 / 1800.0, rel=0.05)


def test_what_the_default_loses_on_failures_would_have_been_lost_without_exploring_too() -> None:
    trainer = Trainer()
    trainer.recur(1)
    before = balance(trainer)
    trainer.advisor.conclude(trainer.job, "failed", batch_size=32, cost=10_000.0, epochs=100.0)
    assert balance(trainer) == pytest.approx(before)
