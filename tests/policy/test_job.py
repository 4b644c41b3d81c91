"""A placement as policies see it: what identifies it, what it costs, and its knobs."""

import pytest

from rheostat.policy.job import READ_TIME_KNOBS
from tests.policy.examples import a_job


def test_jobs_that_differ_in_their_knobs_alone_share_their_state() -> None:
    assert a_job(eta_knob=0.1, beta_knob=None, seed=1, trial_number=9) == a_job()
    assert hash(a_job(eta_knob=0.1)) == hash(a_job())


@pytest.mark.parametrize("other", [{"job_id": "weekly"}, {"gpu_model": "A100"}, {"gpu_count": 8}])
def test_another_job_gpu_or_count_is_another_placement(other: dict[str, object]) -> None:
    assert a_job(**other) != a_job()


def test_the_draws_of_a_trial_hang_on_seed_and_number_alone() -> None:
    def draw(**changes: int) -> float:
        return float(a_job(**changes).random().random())

    assert draw() == draw() == draw(gpu_count=2)
    assert len({draw(), draw(trial_number=2), draw(seed=8)}) == 3


def test_the_cost_is_priced_at_the_present_knob() -> None:
    assert a_job(eta_knob=1.0).cost(1000.0, 10.0) == 1000.0
    assert a_job(eta_knob=0.0).cost(1000.0, 10.0) == 3000.0


def test_the_knobs_in_which_two_views_of_a_placement_differ_are_named() -> None:
    assert a_job(eta_knob=0.1, seed=9, trial_number=3).differs_in(a_job(beta_knob=None)) == {"eta_knob", "beta_knob"}
    assert a_job().differs_in(a_job(seed=9, trial_number=3)) == frozenset()


def test_at_the_reference_knobs_all_views_of_a_placement_are_alike() -> None:
    turned = a_job(eta_knob=0.9, beta_knob=None, max_slowdown=1.1, power_limits_watts=(200,), max_power_watts=700.0)
    assert turned.differs_in(a_job()) <= READ_TIME_KNOBS
    assert turned.at_reference_knobs().differs_in(a_job().at_reference_knobs()) == frozenset()
