"""What recorded jobs save, recurrence after recurrence, against always training with their default."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from rheostat.replay.run import Outcome, Plan, replay_worlds
from rheostat.replay.world import Expectation, World

CHECKPOINTS = (10, 50)
"""Numbers of recurrences that are shown."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over several seeds."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Shares:
    """Energy and time as shares of what always training with the default takes."""

    energy: Spread
    time: Spread


@dataclass(frozen=True, slots=True)
class JobSavings:
    """What one recorded job came to.

    Attributes:
        workload: What is trained.
        default: Batch size and power limit that it is compared with: the default at the highest limit.
        best_fixed: The batch size and power limit of the lowest expected cost, known in advance.
        rheostat: Shares under Rheostat by number of recurrences, everything included.
        of_best_fixed: Shares of always the best fixed choice.
        of_power_alone: Shares of always the default batch size at its best power limit.
    """

    workload: str
    default: tuple[int, int]
    best_fixed: tuple[int, int]
    rheostat: dict[int, Shares]
    of_best_fixed: Shares
    of_power_alone: Shares


def play(worlds: Sequence[World], plan: Plan) -> list[JobSavings]:
    """Replay each world and return what it came to."""
    return [_savings(world, plan, list(replay_worlds([world], plan))) for world in worlds]


def sentence(jobs: Sequence[JobSavings], plan: Plan) -> str:
    """Return what the jobs save, as the documentation says it."""
    last = CHECKPOINTS[-1]
    saved = sorted(100 * (1 - job.rheostat[last].energy.mean) for job in jobs)
    time = sorted(100 * (job.rheostat[last].time.mean - 1) for job in jobs)
    return (
        f"Replayed on {len(jobs)} recorded V100 jobs, {last} recurrences took {saved[0]:.0f} to {saved[-1]:.0f} % less "
        f"energy than always the default (mean {fmean(saved):.0f} %), and from {_change(time[0])} to "
        f"{_change(time[-1])} time (mean {_change(fmean(time))}), all that was spent on learning included (`eta_knob` "
        f"{plan.eta_knob:g}, mean of {len(plan.seeds)} seeds)."
    )


def as_json(jobs: Sequence[JobSavings], plan: Plan, made_by: str) -> dict[str, Any]:
    """Return all figures, and how they were made."""
    return {
        "made_by": made_by,
        "eta_knob": plan.eta_knob,
        "recurrences": plan.recurrences,
        "seeds": list(plan.seeds),
        "survey": plan.survey,
        "sentence": sentence(jobs, plan),
        "jobs": [asdict(job) for job in jobs],
    }


def _savings(world: World, plan: Plan, outcomes: Sequence[Outcome]) -> JobSavings:
    baseline, best = world.baseline(plan.eta_knob), world.oracle(plan.eta_knob)
    at_default = (world.expected(world.default_batch_size, limit, plan.eta_knob) for limit in world.power_limits_watts)
    power_alone = min(filter(None, at_default), key=lambda expected: expected.cost)
    return JobSavings(
        workload=f"{world.workload.dataset}, {world.workload.network}",
        default=(baseline.batch_size, baseline.power_limit_watts),
        best_fixed=(best.batch_size, best.power_limit_watts),
        rheostat={n: _after(n, outcomes, baseline) for n in CHECKPOINTS if n <= plan.recurrences},
        of_best_fixed=_shares(baseline, [(best.energy_joules, best.time_seconds)]),
        of_power_alone=_shares(baseline, [(power_alone.energy_joules, power_alone.time_seconds)]),
    )


def _after(recurrences: int, outcomes: Iterable[Outcome], baseline: Expectation) -> Shares:
    trials = [[trial for trial in outcome.trials if trial.recurrence <= recurrences] for outcome in outcomes]
    return _shares(
        baseline,
        [
            (sum(t.energy_joules for t in of_seed) / recurrences, sum(t.time_seconds for t in of_seed) / recurrences)
            for of_seed in trials
        ],
    )


def _shares(baseline: Expectation, spent: Sequence[tuple[float, float]]) -> Shares:
    """Return energy and time of a recurrence, one pair a seed, against the default's."""
    return Shares(
        _spread([energy for energy, _ in spent], lambda energy: energy / baseline.energy_joules),
        _spread([time for _, time in spent], lambda time: time / baseline.time_seconds),
    )


def _spread(values: Sequence[float], share: Callable[[float], float]) -> Spread:
    shares = [round(share(value), 4) for value in values]
    return Spread(round(fmean(shares), 4), min(shares), max(shares))


def _change(percent: float) -> str:
    return f"{abs(percent):.0f} % {'less' if percent < 0 else 'more'}"
