"""The bound stops runs that cost too much, and no single false report turns it against good ones."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rheostat.policy.cost import NOTHING, Outlay, given_cost
from rheostat.policy.cost_bound import STOPS_IN_A_ROW, CostBound
from rheostat.policy.interface import Job
from tests.policy.examples import a_job

USUAL = 1000.0
JOB = a_job(beta_knob=2.0)
REFERENCE = JOB.at_reference_knobs()

good_costs = st.floats(0.8 * USUAL, 1.2 * USUAL)


def run(bound: CostBound, cost: float, job: Job = JOB) -> tuple[CostBound, bool]:
    """Let a run that would converge at a cost go as far as the bound lets it; return whether it converged."""
    limit = bound.bound(job)
    if limit is not None and cost > limit:
        return bound.stopped(), False
    return bound.converged(REFERENCE, given_cost(cost)), True


def after(*costs: float) -> CostBound:
    bound = CostBound()
    for cost in costs:
        bound = bound.converged(REFERENCE, given_cost(cost))
    return bound


def test_nothing_is_stopped_before_anything_converged() -> None:
    assert CostBound().bound(JOB) is None


def test_the_bound_is_a_multiple_of_the_lowest_cost() -> None:
    assert after(900.0, 700.0, 800.0).bound(JOB) == 1400.0


def test_turning_the_knob_moves_the_bound_at_once() -> None:
    assert after(700.0).bound(a_job(beta_knob=3.0)) == 2100.0
    assert after(700.0).bound(a_job(beta_knob=None)) is None


@given(st.lists(good_costs, max_size=40), st.lists(good_costs, min_size=40, max_size=40))
@pytest.mark.parametrize("factor", [0.0, 0.001, 1000.0])
def test_one_absurd_run_stops_at_most_three_good_ones_ever(
    factor: float, before: list[float], later: list[float]
) -> None:
    bound = after(*before, factor * USUAL)
    stopped = 0
    for cost in later:
        bound, converged = run(bound, cost)
        stopped += not converged
    assert stopped <= STOPS_IN_A_ROW


@given(st.lists(good_costs, min_size=2, max_size=40), good_costs)
def test_a_cost_far_under_the_usual_is_not_used_once_the_usual_is_known(before: list[float], next_cost: float) -> None:
    _, converged = run(after(*before, USUAL / 1000), next_cost)
    assert converged


@given(st.lists(good_costs | st.sampled_from([0.0, 0.1, 1.0, 1e6, 1e9]), max_size=60))
def test_whatever_was_reported_the_fourth_good_run_in_a_row_converges(reported: list[float]) -> None:
    bound = CostBound()
    for cost in reported:
        bound, _ = run(bound, cost)
    converged = False
    for _ in range(STOPS_IN_A_ROW + 1):
        bound, now = run(bound, USUAL)
        converged = converged or now
    assert converged


def test_a_run_that_is_too_expensive_is_stopped_again_after_a_false_report_was_corrected() -> None:
    bound = after(1.0)
    for _ in range(STOPS_IN_A_ROW + 1):
        bound, converged = run(bound, USUAL)
    assert converged
    assert bound.bound(JOB) == 2 * USUAL


def test_two_stops_in_a_row_do_not_lift_the_bound() -> None:
    bound = after(USUAL).stopped().stopped()
    assert bound.bound(JOB) == 2 * USUAL
    assert bound.stopped().bound(JOB) is None


def test_a_lifted_bound_comes_back_with_the_next_run_that_converges() -> None:
    bound = after(USUAL).stopped().stopped().stopped().converged(REFERENCE, given_cost(1.5 * USUAL))
    assert bound.bound(JOB) == 2 * USUAL


def test_a_lasting_change_of_the_usual_is_followed() -> None:
    bound = after(*[USUAL] * 31, *[USUAL / 100] * 31)
    assert bound.bound(JOB) == 2 * USUAL / 100


def test_a_failed_run_is_charged_what_the_bound_would_have_let_it_spend() -> None:
    assert after(USUAL).charged(JOB, NOTHING) == given_cost(2 * USUAL)
    assert after(USUAL).charged(a_job(beta_knob=5.0), NOTHING) == given_cost(5 * USUAL)
    assert after(USUAL).charged(a_job(beta_knob=None), NOTHING) == given_cost(2 * USUAL)
    assert after(USUAL).charged(JOB, given_cost(9 * USUAL)) == given_cost(9 * USUAL)
    assert CostBound().charged(JOB, given_cost(1.0)) == given_cost(1.0)


runs = st.tuples(st.floats(800.0, 1200.0), st.floats(3.0, 5.0)).map(lambda run: Outlay(*run))


@given(st.lists(runs, min_size=1, max_size=8), st.floats(0.0, 1.0), st.floats(100.0, 700.0))
def test_the_bound_is_that_of_the_lowest_run_at_any_knob(took: list[Outlay], eta_knob: float, watts: float) -> None:
    bound = CostBound()
    for outlay in took:
        bound = bound.converged(REFERENCE, outlay)
    job = a_job(eta_knob=eta_knob, max_power_watts=watts)
    assert bound.bound(job) == pytest.approx(2.0 * min(map(job.price, took)))


def test_the_lowest_runs_of_long_ago_still_bound_at_any_knob() -> None:
    frugal, fast, middling = Outlay(100.0, 10.0), Outlay(1000.0, 1.0), Outlay(900.0, 9.0)
    bound = CostBound()
    for outlay in (frugal, fast, *[middling] * 50):
        bound = bound.converged(REFERENCE, outlay)
    assert bound.bound(a_job(eta_knob=1.0)) == 200.0
    assert bound.bound(a_job(eta_knob=0.0)) == 600.0


@pytest.mark.parametrize("beta_knob", [1.2, 2.0, 5.0])
def test_what_a_false_report_would_stop_is_judged_by_the_knob_of_the_moment(beta_knob: float) -> None:
    bound = after(100.0).stopped().stopped().stopped().converged(REFERENCE, given_cost(180.0))
    assert bound.bound(a_job(beta_knob=beta_knob)) == beta_knob * (100.0 if beta_knob * 100.0 >= 180.0 else 180.0)


@given(st.lists(st.floats(0, 1e18), max_size=50), st.integers(0, 5))
def test_the_state_survives_json(costs: list[float], stops: int) -> None:
    bound = after(*costs)
    for _ in range(stops):
        bound = bound.stopped()
    assert CostBound.from_state(json.loads(json.dumps(bound.to_state()))) == bound


def test_the_state_does_not_grow_with_the_number_of_runs() -> None:
    assert len(json.dumps(after(*[USUAL] * 1000).to_state())) == len(json.dumps(after(*[USUAL] * 100).to_state()))
