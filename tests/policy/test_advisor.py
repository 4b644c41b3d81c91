"""One policy applied to one placement: what is chosen, when a run is over, what it teaches, and who is to blame."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rheostat.errors import PolicyFailed
from rheostat.policy.advisor import Advisor, Outcome, Stores, Verdict
from rheostat.policy.cost import Outlay, PowerMeasurement
from rheostat.policy.interface import (
    BatchSizeOptimizer,
    Choice,
    Job,
    Policy,
    PowerLimitOptimizer,
    Progress,
    Situation,
    TrialState,
)
from rheostat.policy.learning_curve import Target
from rheostat.policy.recommender.optimizer import POLICY as RECOMMENDER
from rheostat.policy.zeus import POLICY, JustInTimePowerLimit
from tests.policy.examples import Fixed, JsonStore, a_job

SIZES = (8, 16, 32, 64)
ACCURACY = Target("accuracy", 0.9, maximize=True)
LOSS = Target("loss", 0.1, maximize=False)


def advisor(policy: Policy = POLICY) -> Advisor:
    made = Advisor(policy, Stores(JsonStore(), JsonStore(), JsonStore()))
    made.register(a_job(), SIZES)
    return made


def custom(batch_size: type[BatchSizeOptimizer] = Fixed, **attributes: Any) -> Policy:
    return Policy(type("Custom", (batch_size,), attributes), JustInTimePowerLimit)


def assess(
    made: Advisor,
    target: Target | None,
    *,
    epoch: float = 1.0,
    metric: float | None = None,
    cost: float | None = None,
    outcome: Outcome | None = None,
) -> Verdict:
    job = a_job(max_epochs=10, target=target)
    return made.assess(job, batch_size=32, epoch=epoch, metric=metric, cost=cost, outcome=outcome)


@pytest.mark.parametrize(
    ("target", "metric", "reached"),
    [(ACCURACY, 0.9, True), (ACCURACY, 0.89, False), (LOSS, 0.1, True), (LOSS, 0.11, False)],
)
def test_a_target_is_reached_at_its_value(target: Target, metric: float, reached: bool) -> None:
    assert target.reached(metric) == reached
    assert assess(advisor(), target, metric=metric).state == ("converged" if reached else "running")


def test_a_report_without_the_metric_reaches_nothing() -> None:
    assert assess(advisor(), ACCURACY).state == "running"


def test_a_run_that_is_not_at_its_target_after_the_last_epoch_has_failed() -> None:
    assert assess(advisor(), ACCURACY, epoch=9.9, metric=0.5).state == "running"
    assert assess(advisor(), ACCURACY, epoch=10.0, metric=0.5).state == "failed"
    assert assess(advisor(), ACCURACY, epoch=10.0, metric=0.95).state == "converged"


def test_a_job_without_a_target_has_converged_when_its_epochs_are_done() -> None:
    assert assess(advisor(), None, epoch=9.0, metric=0.5).state == "running"
    assert assess(advisor(), None, epoch=10.0).state == "converged"


@pytest.mark.parametrize("outcome", ["failed", "oom", "cancelled"])
def test_what_the_trainer_says_of_the_end_comes_first(outcome: Outcome) -> None:
    assert assess(advisor(), ACCURACY, metric=0.95, outcome=outcome).state == outcome


def test_a_run_is_stopped_once_it_cannot_be_worth_it() -> None:
    made = advisor()
    made.conclude(a_job(), "converged", batch_size=32, cost=100.0)
    assert assess(made, ACCURACY, metric=0.5, cost=100.0).state == "running"
    assert assess(made, ACCURACY, metric=0.5, cost=201.0).state == "stopped"
    assert assess(made, ACCURACY, metric=0.5).state == "running"
    assert assess(made, ACCURACY, metric=0.95, cost=1e9).state == "converged"


def test_the_bound_follows_the_knob_of_the_moment() -> None:
    made = advisor()
    made.conclude(a_job(), "converged", batch_size=32, cost=100.0)
    assert made.cost_bound(a_job(beta_knob=3.0)) == 300.0
    assert made.cost_bound(a_job(beta_knob=None)) is None
    assert made.cost_bound(a_job(gpu_model="A100")) is None


def test_a_converged_run_teaches_its_cost() -> None:
    made = advisor()
    made.conclude(a_job(), "converged", batch_size=32, cost=100.0)
    assert {arm.batch_size: arm.cost.mean for arm in made.estimates(a_job())}[32] == 100.0


@pytest.mark.parametrize(
    ("state", "cost"),
    [("cancelled", 50.0), ("abandoned", 50.0), ("running", 50.0), ("converged", None), ("stopped", None)],
)
def test_runs_that_say_nothing_of_the_cost_teach_nothing(state: TrialState, cost: float | None) -> None:
    made = advisor()
    made.conclude(a_job(), "converged", batch_size=32, cost=100.0)
    before = made.estimates(a_job()), made.cost_bound(a_job())
    made.conclude(a_job(), state, batch_size=32, cost=cost)
    assert (made.estimates(a_job()), made.cost_bound(a_job())) == before


@pytest.mark.parametrize("state", ["failed", "oom"])
@pytest.mark.parametrize(("cost", "charged"), [(None, 200.0), (1.0, 200.0), (500.0, 500.0)])
def test_failing_early_does_not_look_cheap(state: TrialState, cost: float | None, charged: float) -> None:
    made = advisor()
    made.conclude(a_job(), "converged", batch_size=32, cost=100.0)
    made.conclude(a_job(), state, batch_size=64, cost=cost)
    assert {arm.batch_size: arm.cost.mean for arm in made.estimates(a_job())}[64] == charged
    assert made.cost_bound(a_job()) == 200.0


def test_failing_early_does_not_look_cheap_where_only_runs_of_unknown_verdict_are_known() -> None:
    made = advisor()
    made.conclude(a_job(), None, batch_size=32, cost=100.0)
    made.conclude(a_job(), None, batch_size=32, cost=100.0)
    made.conclude(a_job(), "failed", batch_size=32, cost=None)
    cost = {arm.batch_size: arm.cost.mean for arm in made.estimates(a_job())}[32]
    assert cost is not None
    assert cost >= 100.0


def test_a_run_of_unknown_verdict_counts_as_converged() -> None:
    made = advisor()
    made.conclude(a_job(), None, batch_size=32, cost=100.0)
    assert made.cost_bound(a_job()) == 200.0
    assert {arm.batch_size: arm.cost.mean for arm in made.estimates(a_job())}[32] == 100.0


@given(st.integers(0, 60), st.sampled_from([0.0, 0.001, 1000.0]))
def test_one_absurd_report_does_not_keep_the_placement_from_converging(at: int, factor: float) -> None:
    made = advisor()
    states = []
    random = np.random.default_rng(at)
    for number in range(1, 91):
        job = a_job(trial_number=number, max_epochs=10, target=ACCURACY)
        size = made.choose(job, Situation(SIZES)).batch_size
        cost = {8: 100.0, 16: 110.0, 32: 120.0, 64: 130.0}[size] * random.uniform(0.95, 1.05)
        state: TrialState = "converged"
        if number - 1 == at:
            cost *= factor
        elif made.assess(job, batch_size=size, epoch=5.0, metric=0.5, cost=cost).state == "stopped":
            state = "stopped"
        made.conclude(job, state, batch_size=size, cost=cost)
        states.append(state)
    assert states.count("stopped") <= 3
    assert "stopped" not in states[-20:]


def test_a_run_of_no_energy_teaches_a_policy_that_keeps_prices_nothing_where_energy_alone_counts() -> None:
    job, broken = a_job(eta_knob=1.0), Outlay(0.0, 5.0)
    for policy, runs in ((POLICY, 0), (RECOMMENDER, 1)):
        made = advisor(policy)
        made.conclude(job, "converged", batch_size=32, cost=broken, epochs=3.0)
        assert [arm.runs for arm in made.estimates(job) if arm.batch_size == 32] == [runs]


def test_a_policy_that_says_nothing_of_further_batch_sizes_is_rebuilt_for_them() -> None:
    assert not advisor(custom()).add_batch_sizes(a_job(), [*SIZES, 128])


def test_power_limits_are_measured_first_and_then_the_best_is_advised() -> None:
    made = advisor()
    assert made.power(a_job(), 32).profile_power_limits_watts == (300, 200, 100)
    for limit, cost in ((300, 3.0), (200, 1.0), (100, 2.0)):
        assert made.power(a_job(), 32).power_limit_watts is None
        made.measure(a_job(), 32, PowerMeasurement(limit, cost))
    advice = made.power(a_job(), 32)
    assert (advice.power_limit_watts, advice.profile_power_limits_watts) == (200, ())


class Stubborn(Fixed):
    """Chooses without regard to what is permitted."""

    def choose(self, job: Job, situation: Situation) -> Choice:
        return Choice(self.answer, "because")


class Broken(Fixed):
    """Raises wherever it is asked something."""

    def predict(self, job: Job) -> int:
        raise KeyError("predict")

    def observe(self, job: Job, batch_size: int, cost: float, converged: bool | None = None) -> None:
        raise ZeroDivisionError

    def early_stop(self, job: Job, progress: Progress) -> str | None:
        raise ValueError("early_stop")


@pytest.mark.parametrize("answer", [128, 0, -32, None, "32", float("nan")])
def test_a_policy_that_chooses_what_is_not_permitted_fails_by_name(answer: object) -> None:
    with pytest.raises(PolicyFailed, match="The policy fixed chose batch size"):
        advisor(custom(Stubborn, answer=answer)).choose(a_job(), Situation(SIZES))


@pytest.mark.parametrize(
    "question",
    [
        lambda made: made.choose(a_job(), Situation(SIZES)),
        lambda made: made.conclude(a_job(), "converged", batch_size=32, cost=1.0),
        lambda made: assess(made, ACCURACY, metric=0.5),
    ],
)
def test_whatever_a_policy_raises_names_the_policy(question: Callable[[Advisor], object]) -> None:
    with pytest.raises(PolicyFailed, match=r"The policy fixed failed: \w+Error") as caught:
        question(advisor(custom(Broken)))
    assert caught.value.__cause__ is not None
    assert "rheostat jobs rebuild" in caught.value.hint


def test_a_policy_that_cannot_be_made_fails_by_name() -> None:
    unfinished: Any = type("Unfinished", (BatchSizeOptimizer,), {"name": "unfinished"})
    with pytest.raises(PolicyFailed):
        advisor(Policy(unfinished, JustInTimePowerLimit))


@pytest.mark.parametrize("answer", [32.0, np.int64(32)])
def test_a_batch_size_that_merely_equals_a_permitted_one_is_given_as_an_integer(answer: Any) -> None:
    assert type(advisor(custom(answer=answer)).choose(a_job(), Situation(SIZES)).batch_size) is int


class Overclocking(PowerLimitOptimizer):
    """Advises a limit that the job does not have."""

    name = "overclocking"

    def predict(self, job: Job, batch_size: int) -> int | None:
        return 9999

    def observe(self, job: Job, batch_size: int, power_limit: int, cost: float) -> None:
        pass


def test_a_policy_that_advises_a_power_limit_which_the_job_lacks_fails_by_name() -> None:
    with pytest.raises(PolicyFailed, match="overclocking"):
        advisor(Policy(Fixed, Overclocking)).power(a_job(), 32)


def test_what_a_policy_rejects_is_stopped_at_its_target_unless_nothing_may_stop_it() -> None:
    made = advisor(custom(reject=lambda *_: "too dear"))
    assert assess(made, ACCURACY, metric=0.95, cost=1.0) == Verdict("stopped", "too dear")
    assert assess(made, ACCURACY, metric=0.95, outcome="cancelled").state == "cancelled"
    ordered = made.assess(
        a_job(max_epochs=10, target=ACCURACY), batch_size=32, epoch=1.0, metric=0.95, cost=1.0, may_stop=False
    )
    assert ordered.state == "converged"
