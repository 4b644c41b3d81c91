"""The exploration visits what is worth it, in any order of results, and comes to an end."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from rheostat.policy.pruning import Walk, explore, spread

SIZES = (8, 16, 32, 64, 128)
ROUNDS = 2

Costs = dict[int, list[tuple[float, bool]]]


def good(cost: float) -> tuple[float, bool]:
    return (cost, True)


BAD = (5.0, False)


def visits(outcomes: Costs, default: int = 32) -> tuple[list[int], Walk]:
    """Follow the walk one trial after the other; return the batch sizes in the order visited, and where it ended."""
    results: Costs = {}
    order = []
    walk = explore(SIZES, default, results, ROUNDS)
    while walk.next is not None:
        order.append(walk.next)
        known = results.setdefault(walk.next, [])
        known.append(outcomes[walk.next][len(known)])
        walk = explore(SIZES, default, results, ROUNDS)
    return order, walk


def test_it_walks_down_from_the_default_then_up_then_again_from_the_cheapest() -> None:
    outcomes = {size: [good(100.0 + abs(size - 16))] * 2 for size in SIZES}
    order, walk = visits(outcomes)
    assert order == [32, 16, 8, 64, 128, 16, 8, 32, 64, 128]
    assert walk == Walk(round=0, next=None, open=(), survivors=SIZES)


def test_a_failure_ends_its_direction() -> None:
    outcomes = {8: [good(1.0)] * 2, 16: [BAD], 32: [good(2.0)] * 2, 64: [BAD], 128: [good(1.0)] * 2}
    order, walk = visits(outcomes)
    assert order == [32, 16, 64, 32]
    assert walk.survivors == (32,)


def test_the_second_round_prunes_too() -> None:
    outcomes = {size: [good(float(size))] * 2 for size in SIZES} | {64: [good(64.0), BAD]}
    _, walk = visits(outcomes)
    assert walk.survivors == (8, 16, 32)


def test_survivors_of_the_first_round_remain_when_the_whole_second_one_fails() -> None:
    outcomes = {8: [BAD], 16: [good(1.0), BAD], 32: [good(2.0), BAD], 64: [BAD]}
    order, walk = visits(outcomes)
    assert order == [32, 16, 8, 64, 16, 32]
    assert walk.survivors == (16, 32)


def test_a_default_that_fails_has_its_smaller_neighbours_tried() -> None:
    outcomes = {8: [good(9.0)] * 2, 16: [good(7.0)] * 2, 32: [BAD], 64: [BAD]}
    order, walk = visits(outcomes)
    assert order == [32, 64, 16, 8, 16, 8]
    assert walk.survivors == (8, 16)


def test_larger_batch_sizes_follow_when_all_smaller_ones_have_failed() -> None:
    outcomes = {8: [BAD], 16: [BAD], 32: [BAD], 64: [BAD], 128: [good(1.0)] * 2}
    order, walk = visits(outcomes)
    assert order == [32, 64, 16, 8, 128, 128]
    assert walk.survivors == (128,)


def test_nothing_survives_when_everything_failed() -> None:
    order, walk = visits({size: [BAD] for size in SIZES})
    assert sorted(order) == sorted(SIZES)
    assert walk == Walk(round=0, next=None, open=(), survivors=())


def test_survivors_below_a_failed_default_remain_too_when_the_second_round_fails() -> None:
    outcomes = {8: [BAD], 16: [good(1.0), BAD], 32: [BAD], 64: [BAD], 128: [BAD]}
    _, walk = visits(outcomes)
    assert walk.survivors == (16,)


result = st.tuples(st.sampled_from([1.0, 2.0, 3.0, 4.0]), st.booleans())
all_outcomes = st.fixed_dictionaries({size: st.lists(result, min_size=ROUNDS, max_size=ROUNDS) for size in SIZES})
some_results = st.fixed_dictionaries({size: st.lists(result, max_size=ROUNDS) for size in SIZES})
defaults = st.sampled_from(SIZES)


@given(all_outcomes, defaults)
def test_it_ends_after_at_most_one_trial_a_round_and_batch_size(outcomes: Costs, default: int) -> None:
    order, _ = visits(outcomes, default)
    assert len(order) <= ROUNDS * len(SIZES)
    assert order[0] == default
    assert all(order.count(size) <= ROUNDS for size in SIZES)


@given(all_outcomes, defaults, st.lists(st.lists(st.sampled_from(SIZES), max_size=4), max_size=12), st.randoms())
def test_it_ends_whatever_else_reports_meanwhile(
    outcomes: Costs, default: int, meanwhile: list[list[int]], random: Random
) -> None:
    results: Costs = {}
    steps = 0
    walk = explore(SIZES, default, results, ROUNDS)
    while walk.next is not None:
        others = meanwhile[steps] if steps < len(meanwhile) else []
        for size in random.sample([walk.next, *others], k=1 + len(others)):
            known = results.setdefault(size, [])
            if len(known) < ROUNDS:
                known.append(outcomes[size][len(known)])
        walk = explore(SIZES, default, results, ROUNDS)
        steps += 1
    assert steps <= ROUNDS * len(SIZES)


@given(some_results, defaults, st.randoms(use_true_random=False))
def test_the_order_in_which_results_arrive_changes_nothing(results: Costs, default: int, random: Random) -> None:
    shuffled = list(results)
    random.shuffle(shuffled)
    assert explore(SIZES, default, {size: results[size] for size in shuffled}, ROUNDS) == explore(
        SIZES, default, results, ROUNDS
    )


@given(some_results, defaults)
def test_what_the_walk_says_is_consistent(results: Costs, default: int) -> None:
    walk = explore(SIZES, default, results, ROUNDS)
    assert len(set(walk.survivors)) == len(walk.survivors)
    assert len(set(walk.open)) == len(walk.open)
    assert (walk.next is None) == (not walk.open) == (walk.round == 0)
    if walk.next is not None:
        assert walk.next in walk.open
        assert walk.survivors == ()
    assert all(len(results[size]) < walk.round for size in walk.open)
    assert all(any(converged for _, converged in results[size]) for size in walk.survivors)


def test_trials_that_start_together_spread_over_the_open_batch_sizes() -> None:
    walk = explore(SIZES, 32, {}, ROUNDS)
    pending: list[int] = []
    for _ in SIZES:
        size = spread(walk, pending)
        assert size is not None
        pending.append(size)
    assert pending[0] == 32
    assert sorted(pending) == sorted(SIZES)
    assert spread(walk, pending) is None


def test_a_trial_that_never_reports_holds_nothing_up() -> None:
    walk = explore(SIZES, 32, {32: [good(1.0)]}, ROUNDS)
    assert spread(walk, [walk.next] if walk.next else []) not in (None, walk.next)
    assert spread(walk, ()) == walk.next


def test_without_rounds_all_candidates_survive() -> None:
    assert explore(SIZES, 32, {}, 0).survivors == SIZES
