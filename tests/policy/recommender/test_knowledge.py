"""What is known of a placement: derived once per change of its states, whichever way they are kept."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace

import pytest

from rheostat.policy.advisor import Advisor, Stores
from rheostat.policy.cost import PowerMeasurement
from rheostat.policy.interface import Job, PowerLimitOptimizer, State
from rheostat.policy.recommender.knowledge import gather
from rheostat.policy.recommender.optimizer import POLICY, Recommender
from rheostat.policy.recommender.power_sweep import PowerSweep
from tests.policy.examples import JsonStore, a_job
from tests.policy.recommender.trainer import ACCURACY, JOULES_PER_EPOCH, SIZES, Trainer


class CopyingStore(JsonStore):
    """Returns another copy each time, so that no state is known to be the same."""

    def __getitem__(self, job: Job) -> State:
        return deepcopy(super().__getitem__(job))


def test_knobs_may_be_turned_without_losing_what_was_learnt() -> None:
    trainer = Trainer()
    trainer.recur(20)
    turned = Trainer.__new__(Trainer)
    turned.__dict__.update(trainer.__dict__ | {"job": replace(trainer.job, beta_knob=4.0, max_slowdown=1.2)})
    assert turned.choose() == 16


def test_knowledge_that_is_kept_equals_knowledge_that_is_derived_each_time() -> None:
    joules: Mapping[int, float] = {8: 300.0, 16: 250.0}
    once = Trainer(joules=joules)
    each_time = Trainer(joules=joules, advisor=Advisor(POLICY, Stores(CopyingStore(), CopyingStore(), CopyingStore())))
    assert once.recur(15) == each_time.recur(15)
    assert once.trials == each_time.trials
    assert once.advisor.estimates(once.job) == each_time.advisor.estimates(each_time.job)


def test_knowledge_is_derived_again_only_when_a_state_or_a_knob_changed() -> None:
    stores = Stores(JsonStore(), JsonStore(), JsonStore())
    trainer = Trainer(advisor=Advisor(POLICY, stores))
    trainer.run(32)
    sweep = PowerSweep(stores.power_limit)
    known = gather(stores.batch_size, sweep, trainer.job)
    assert gather(stores.batch_size, sweep, replace(trainer.job, trial_number=9)) is known
    assert gather(stores.batch_size, sweep, replace(trainer.job, beta_knob=3.0)) is not known
    trainer.measure(16)
    measured = gather(stores.batch_size, sweep, trainer.job)
    assert measured is not known
    assert measured.epoch_cost_joules(16) == pytest.approx(JOULES_PER_EPOCH)
    trainer.run(16)
    assert gather(stores.batch_size, sweep, trainer.job) is not measured


class InPlace(PowerLimitOptimizer):
    """Changes its state in place, as a custom optimizer may."""

    name = "in-place"

    def predict(self, job: Job, batch_size: int) -> int | None:
        return None

    def observe(self, job: Job, batch_size: int, power_limit: int, cost: float) -> None:
        self.store.setdefault(job, {})[str(batch_size)] = cost

    def measurements(self, job: Job, batch_size: int) -> tuple[PowerMeasurement, ...]:
        cost = self.store.get(job, {}).get(str(batch_size))
        return () if cost is None else (PowerMeasurement(200, cost),)


def test_what_an_optimizer_measured_counts_also_when_it_changes_its_state_in_place() -> None:
    store, optimizer, job = JsonStore(), InPlace({}), a_job(target=ACCURACY)
    Recommender(store).register_job(job, list(SIZES))
    for cost in (100.0, 50.0):
        optimizer.observe(job, 32, 200, cost)
        assert gather(store, optimizer, job).epoch_cost_joules(32) == pytest.approx(cost)
