"""States that earlier versions stored: used as they are, and derived again before a knob applies to them."""

import json
from math import log
from typing import Any

import pytest

from rheostat.policy.recommender.evidence import Arm, Evidence
from rheostat.policy.recommender.optimizer import Recommender
from tests.policy.examples import JsonStore, a_job

_OLD_ARM: dict[str, Any] = {
    "runs": 3,
    "epochs": {"count": 2.0, "total": 6.0, "squares": 18.0, "latest": [], "doubted": None},
    "whole_costs": {
        "count": 2.0,
        "total": 2.0 * log(70.0),
        "squares": 2.0 * log(70.0) ** 2,
        "latest": [],
        "doubted": None,
    },
    "site": [1.0, 2.0],
    "failures": 0.5,
    "lost_joules": 30.0,
    "stop_costs": [7.0],
    "epoch_costs": [log(11.0), log(12.0)],
    "curve": [[0.5, 1]],
}
_OLD: dict[str, Any] = {
    "arms": {"8": _OLD_ARM},
    "levels": [0.5],
    "drift": [1.0, 0.0],
    "learned": 4,
    "fruitless": {"8": 1},
}


def test_a_state_of_when_costs_were_priced_at_once_is_read_as_it_was() -> None:
    evidence = Evidence.from_state(_OLD | {"wasted_joules": 20.0, "fixed_costs": [5.0]})
    price = a_job(eta_knob=0.3).price
    arm = evidence.arms[8]
    assert [price(epoch) for epoch in arm.epoch_costs] == pytest.approx([11.0, 12.0])
    assert (price(arm.lost), [price(stop) for stop in arm.stops]) == (30.0, [7.0])
    assert (price(evidence.wasted), [price(fixed) for fixed in evidence.fixed]) == (20.0, [5.0])
    assert arm.priced_whole_costs(price, a_job().price) == arm.whole_costs


def test_a_state_that_was_priced_at_once_stays_known_as_such() -> None:
    evidence = Evidence.from_state(_OLD)  # there were neither an account nor fixed costs yet
    assert evidence.is_priced
    assert Evidence.from_state(json.loads(json.dumps(evidence.to_state()))) == evidence
    assert not Evidence.from_state(Evidence({8: Arm()}).to_state()).is_priced


def test_a_state_that_was_priced_at_once_needs_a_fold_for_another_knob_and_for_more_batch_sizes() -> None:
    store, job = JsonStore(), a_job()
    store[job] = _OLD
    recommender, knob = Recommender(store), frozenset({"eta_knob"})
    assert not recommender.is_independent_of(job, knob)
    assert not recommender.add_batch_sizes(job, [8, 16])
    recommender.register_job(job, [8])
    assert recommender.is_independent_of(job, knob)
    assert not recommender.is_independent_of(job, knob | {"window_size"})
    assert recommender.add_batch_sizes(job, [8, 16])
