"""Whether the recommender's intervals hold what they claim: how often the truth of a world lies in them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import exp, log
from statistics import NormalDist, fmean

from benchmarks.decisions.scenarios import Game
from rheostat.domain import insight
from rheostat.replay.backend import InProcess
from rheostat.replay.simulator import replay_job
from rheostat.replay.world import World

RECURRENCES = (1, 2, 5, 10, 20, 50, 100)
"""After how many recurrences the intervals are looked at."""

FIGURES = ("epochs", "cost")
LEVELS = (0.5, 0.95)

_SHOWN = 0.95
"""Level of the intervals that are shown to users; the narrower one is that of the same lognormal."""

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often the truth lay in an interval: one figure of all batch sizes that can converge, after some recurrences.

    Attributes:
        figure: One of :data:`FIGURES`.
        recurrences: After how many.
        level: What the interval claims.
        held: Whether it held the truth, once for each batch size.
    """

    figure: str
    recurrences: int
    level: float
    held: tuple[bool, ...]


def watch(game: Game, seed: int) -> list[Coverage]:
    """Play a game of the recommender and compare what it believes on the way with the truth of the world."""
    backend = game.backend(seed)
    assert isinstance(backend, InProcess)
    truths = {
        size: truth for size in game.world.batch_sizes if (truth := true_figures(game.world, size, game.eta_knob))
    }
    seen: list[Coverage] = []
    done = 0

    def look() -> None:
        nonlocal done
        done += 1
        if done in RECURRENCES:
            (placement,) = insight.estimates(backend.job).placements
            arms = [(arm.model_dump(), truths[arm.batch_size]) for arm in placement.arms if arm.batch_size in truths]
            seen.extend(
                Coverage(figure, done, level, tuple(holds(arm, figure, truth[figure], level) for arm, truth in arms))
                for figure in FIGURES
                for level in LEVELS
            )

    replay_job(game.world, backend, seed=seed, recurrences=game.recurrences, survey=game.survey, on_recurrence=look)
    return seen


def holds(arm: Mapping[str, float | None], figure: str, truth: float, level: float) -> bool:
    """Return whether the interval of a level around an arm's figure holds the truth; what is not known holds it."""
    low, high = arm[f"{figure}_low"], arm[f"{figure}_high"]
    if low is None or high is None:
        return True
    centre, half = (log(high) + log(low)) / 2.0, (log(high) - log(low)) / 2.0
    normal = NormalDist()
    half *= normal.inv_cdf(0.5 + level / 2.0) / normal.inv_cdf(0.5 + _SHOWN / 2.0)
    return exp(centre - half) * (1.0 - _ROUNDING) <= truth <= exp(centre + half) * (1.0 + _ROUNDING)


def true_figures(world: World, batch_size: int, eta_knob: float) -> dict[str, float] | None:
    """Return mean epochs and expected cost of a success at the best limit, or None if there never is one."""
    of_limits = [world.expected(batch_size, watts, eta_knob) for watts in world.power_limits_watts]
    costs = [expected.cost for expected in of_limits if expected is not None]
    if not costs:
        return None
    epochs = [run.epochs_to_target for run in world.runs[batch_size]]
    return {"epochs": fmean(n for n in epochs if n is not None and n <= world.max_epochs), "cost": min(costs)}


def shares(seen: Iterable[Coverage]) -> dict[tuple[str, float], dict[int, float]]:
    """Return by figure and level which share of the intervals held the truth, by recurrence."""
    held: dict[tuple[str, float], dict[int, list[bool]]] = {}
    for one in seen:
        held.setdefault((one.figure, one.level), {}).setdefault(one.recurrences, []).extend(one.held)
    return {key: {n: fmean(which) for n, which in by_n.items() if which} for key, by_n in held.items()}
