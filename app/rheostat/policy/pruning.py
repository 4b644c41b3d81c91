"""Which batch sizes are worth learning about: Zeus's exploration with pruning (NSDI 2023, section 4.3).

A round walks down from the default batch size, then up from it; a batch size that does not reach the target
ends its direction. The next round walks the survivors again, from the cheapest of them. Two rounds leave every
survivor with two costs, from which a variance can be had.

The walk is a function of the results alone, so results may come in any order, late, twice, or from several
trials at once: nothing waits for a particular trial to report.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

Results = Mapping[int, Sequence[tuple[float, bool]]]
"""Per batch size its first results, in order: cost in joules and whether the run converged."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Where the exploration stands.

    Attributes:
        round: Number of the round that is walked, from 1; 0 once exploration is over.
        next: The batch size whose turn it is; None once exploration is over.
        open: Batch sizes of this round that still lack a result and that no failure rules out, nearest to the
            round's starting point first.
        survivors: Batch sizes to go on with, ascending. Empty until exploration is over.
    """

    round: int
    next: int | None
    open: tuple[int, ...]
    survivors: tuple[int, ...]


def explore(batch_sizes: Sequence[int], default: int, results: Results, rounds: int) -> Walk:
    """Return where the exploration stands after the given results.

    When the default fails and so does what lies above it, the first round is walked again from the nearest
    smaller batch size that has not failed: a default too large for its learning rate has neighbours that work.
    Only when all smaller ones have failed do the larger ones follow.

    Args:
        batch_sizes: All candidates, ascending.
        default: Where the first round starts; one of the candidates.
        results: What is known so far; round ``r`` reads the ``r``-th result of each batch size.
        rounds: How many rounds to walk; 0: all candidates survive.
    """
    candidates, start = tuple(batch_sizes), default
    survivors = () if rounds else candidates
    for number in range(rounds):
        good, turn, still_open = _walk_round(candidates, start, results, number)
        if turn is None and not good and number == 0:
            unfailed = [size for size in candidates if all(converged for _, converged in results.get(size, ())[:1])]
            smaller = [size for size in unfailed if size < default]
            candidates = tuple(smaller or unfailed)
            if not candidates:
                return Walk(0, None, (), ())
            start = max(candidates) if smaller else min(candidates)
            good, turn, still_open = _walk_round(candidates, start, results, number)
        if turn is not None:
            return Walk(number + 1, turn, still_open, ())
        if not good:
            break
        survivors = tuple(sorted(good))
        candidates, start = survivors, min(good, key=lambda size: good[size])
    return Walk(0, None, (), survivors)


def _walk_round(
    candidates: Sequence[int], start: int, results: Results, number: int
) -> tuple[dict[int, float], int | None, tuple[int, ...]]:
    """Return the costs of the round's converged batch sizes, whose turn it is, and all that are still open."""
    good: dict[int, float] = {}
    turn: int | None = None
    still_open: list[tuple[int, int]] = []
    at = candidates.index(start)
    down, up = candidates[at::-1], candidates[at + 1 :]
    for first_distance, direction in ((0, down), (1, up)):
        for distance, size in enumerate(direction, first_distance):
            known = results.get(size, ())
            if len(known) <= number:
                turn = size if turn is None else turn
                still_open.append((distance, size))
                continue
            cost, converged = known[number]
            if not converged:
                break
            good[size] = cost
    return good, turn, tuple(size for _, size in sorted(still_open))


def spread(walk: Walk, pending: Collection[int]) -> int | None:
    """Return the open batch size that a further trial should explore, or None when all are taken.

    The one whose turn it is comes first; while a running trial already tries it, the nearest other one that is
    still open. Trials that start together so learn about different batch sizes.
    """
    if walk.next is not None and walk.next not in pending:
        return walk.next
    return next((size for size in walk.open if size not in pending), None)
