"""The four methods are the whole duty of a custom policy: all else has a default built on them."""

import pytest

from rheostat.policy.cost import PowerMeasurement
from rheostat.policy.interface import (
    BatchSizeOptimizer,
    Choice,
    Job,
    Policy,
    PowerLimitOptimizer,
    Progress,
    Result,
    Situation,
    TrialState,
)
from rheostat.policy.zeus import JustInTimePowerLimit, PruningThompsonSampling
from tests.policy.examples import Fixed, a_job


class Unmoved(PowerLimitOptimizer):
    """The four lines that a power limit policy must have."""

    @property
    def name(self) -> str:
        return "unmoved"

    def predict(self, job: Job, batch_size: int) -> int | None:
        return self.store.get(job, {}).get(str(batch_size))

    def observe(self, job: Job, batch_size: int, power_limit: int, cost: float) -> None:
        self.store[job] = {str(batch_size): power_limit}


def test_a_policy_that_lacks_one_of_the_four_methods_cannot_be_made() -> None:
    class Forgetful(BatchSizeOptimizer):
        name = "forgetful"

        def predict(self, job: Job) -> int:
            return 32

    with pytest.raises(TypeError, match="observe"):
        Forgetful({})  # type: ignore[abstract]


def test_what_is_predicted_is_chosen_where_it_is_permitted() -> None:
    choice = Fixed({}).choose(a_job(), Situation((16, 32, 64)))
    assert choice == Choice(32, "predicted by the policy fixed")


@pytest.mark.parametrize(("permitted", "nearest"), [((8, 16), 16), ((48, 64), 48), ((16, 48), 16)])
def test_else_the_nearest_permitted_batch_size_is(permitted: tuple[int, ...], nearest: int) -> None:
    assert Fixed({}).choose(a_job(), Situation(permitted)).batch_size == nearest


@pytest.mark.parametrize(
    ("epoch", "cost", "bound", "why"),
    [
        (4.0, 80.0, 100.0, None),
        (4.0, 81.0, 100.0, "81 J-eq, would with one more epoch pass 100 J-eq, 2 times the lowest"),
        (4.0, 101.0, 100.0, "101 J-eq, passed 100 J-eq, 2 times the lowest"),
        (0.1, 50.0, 100.0, None),
        (0.1, 51.0, 100.0, "51 J-eq, would"),
        (0.0, 101.0, 100.0, "101 J-eq, passed"),
        (3.0, 3 * 0.1, 4 * 0.1, None),
        (4.0, None, 100.0, None),
        (4.0, 1e9, None, None),
    ],
)
def test_a_running_trial_is_stopped_before_it_passes_the_bound(
    epoch: float, cost: float | None, bound: float | None, why: str | None
) -> None:
    reason = Fixed({}).early_stop(a_job(), Progress(32, epoch, 0.5, cost, bound))
    assert (reason is None) == (why is None)
    assert reason is None or why is None or why in reason


@pytest.mark.parametrize(
    ("state", "converged"), [("converged", True), ("stopped", False), ("oom", False), (None, None)]
)
def test_a_finished_run_is_observed(state: TrialState | None, converged: bool | None) -> None:
    policy = Fixed({})
    policy.register_job(a_job(), [32])
    policy.conclude(a_job(), Result(32, 100.0, state, epochs=3.0))
    assert policy.store[a_job()]["observed"] == [[32, 100.0, converged]]


def test_a_policy_need_not_give_estimates() -> None:
    assert Fixed({}).estimates(a_job()) == ()


def test_a_power_limit_policy_measures_all_limits_and_observes_their_cost() -> None:
    policy = Unmoved({})
    assert policy.plan(a_job(), 32) == (300, 200, 100)
    policy.measure(a_job(), 32, PowerMeasurement(200, 5.0, time_seconds=1.0, energy_joules=9.0))
    assert policy.predict(a_job(), 32) == 200


@pytest.mark.parametrize(
    ("of_batch_sizes", "of_power_limits", "of_both"),
    [((), ("eta_knob",), set()), (("eta_knob",), ("eta_knob", "beta_knob"), {"eta_knob"})],
)
def test_a_policy_applies_at_read_time_what_both_its_optimizers_do(
    of_batch_sizes: tuple[str, ...], of_power_limits: tuple[str, ...], of_both: set[str]
) -> None:
    sizes = type("Sizes", (PruningThompsonSampling,), {"read_time_knobs": frozenset(of_batch_sizes)})
    limits = type("Limits", (JustInTimePowerLimit,), {"read_time_knobs": frozenset(of_power_limits)})
    assert Policy(sizes, limits).read_time_knobs == of_both
