"""When the past stops counting."""

import numpy as np
import pytest

from rheostat.policy.cost import given_cost
from rheostat.policy.recommender import drift
from rheostat.policy.recommender.evidence import Arm, Evidence, Tally


def alarms(deviations: list[float]) -> int | None:
    """Return after which run the alarm goes off, or None."""
    state = (0.0, 0.0)
    for number, deviation in enumerate(deviations, start=1):
        state = drift.follow(state, deviation)
        if drift.is_alarm(state):
            return number
    return None


@pytest.mark.parametrize("shift", [3.0, -3.0])
def test_a_lasting_shift_is_noticed_within_a_few_runs(shift: float) -> None:
    assert alarms([shift] * 10) == 5


def test_one_absurd_run_is_no_drift() -> None:
    assert alarms([0.0, 500.0, 0.0, 0.0, -0.3, 0.2]) is None


def test_ordinary_runs_raise_hardly_any_false_alarm() -> None:
    random = np.random.default_rng(1)
    assert sum(alarms(list(random.standard_normal(100))) is not None for _ in range(200)) <= 2


def test_outdated_evidence_keeps_its_mean_and_little_weight() -> None:
    arm = Arm(9, epochs=Tally().add(3.0).add(3.2), censored=(5.0, 1.0), failures=1.0, stops=(given_cost(9.0),))
    evidence = drift.discount(Evidence({8: arm, 16: Arm()}, drift=(9.0, 0.0), learned=30), noise=0.01)
    old = evidence.arms[8]
    assert old.epochs.count == pytest.approx(0.04)
    assert old.epochs.total / old.epochs.count == pytest.approx(3.1)
    assert (old.censored, old.failures, old.stops) == ((0.0, 0.0), 0.0, ())
    assert (evidence.drift, evidence.learned, old.runs) == ((0.0, 0.0), 0, 9)
    assert evidence.arms[16] == Arm()
