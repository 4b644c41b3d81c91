"""What a placement learns from the same job on other GPUs."""

from rheostat.policy.cost import given_cost
from rheostat.policy.recommender.evidence import Arm, Evidence, Tally
from rheostat.policy.recommender.transfer import MOST_RUNS, pool


def tally(*values: float) -> Tally:
    made = Tally()
    for value in values:
        made = made.add(value)
    return made


def test_alone_a_placement_knows_what_it_knows() -> None:
    own = Evidence({8: Arm(epochs=tally(3.0))})
    assert pool(own, []) == own


def test_epochs_carry_over_up_to_a_few_runs_and_costs_do_not() -> None:
    theirs = Arm(epochs=tally(*[2.0] * 50), whole_costs=tally(9.0), epoch_costs=(given_cost(9.0),), failures=1)
    pooled = pool(Evidence({8: Arm(epochs=tally(3.0))}), [Evidence({8: theirs})]).arms[8]
    assert pooled.epochs.count == 1.0 + MOST_RUNS
    assert pooled.epochs.total == 3.0 + 2.0 * MOST_RUNS
    assert (pooled.whole_costs.count, pooled.epoch_costs, pooled.failures) == (0.0, (), 0)


def test_batch_sizes_that_only_one_of_them_has_are_no_hindrance() -> None:
    pooled = pool(Evidence({8: Arm(), 16: Arm()}), [Evidence({16: Arm(epochs=tally(2.0)), 32: Arm()})])
    assert list(pooled.arms) == [8, 16]
    assert pooled.arms[16].epochs.count == 1.0


def test_learning_curves_carry_over_with_their_levels() -> None:
    theirs = Evidence({8: Arm(curve=((-1.0, 2),))}, levels=(0.5,))
    pooled = pool(Evidence({8: Arm()}), [theirs])
    assert (pooled.levels, pooled.arms[8].curve) == ((0.5,), ((-1.0, 2),))
    other_levels = Evidence({8: Arm(curve=((-0.5, 1), (-0.2, 1)))}, levels=(0.4, 0.6))
    assert pool(other_levels, [theirs]).arms[8].curve == other_levels.arms[8].curve


def test_the_surest_stopped_run_counts() -> None:
    pooled = pool(Evidence({8: Arm(censored=(1.0, 2.0))}), [Evidence({8: Arm(censored=(4.0, 9.0))})])
    assert pooled.arms[8].censored == (4.0, 9.0)
