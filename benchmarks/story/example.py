"""The worked example: one recorded job with five batch sizes, recurrence by recurrence."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from benchmarks.decisions.calibration import true_figures
from rheostat.domain import insight
from rheostat.replay.backend import InProcess
from rheostat.replay.run import Plan, job_of
from rheostat.replay.simulator import TrialRecord, replay_job
from rheostat.replay.world import World
from rheostat.schemas.insight import Estimate

BATCH_SIZES = (32, 128, 512, 1024, 2048)
BELIEFS_AFTER = (1, 3, 10, 20)
SHOWN_TRIALS = 8


@dataclass(frozen=True, slots=True)
class DecidedTrial:
    """A trial, why it was begun, and why it ended as it did."""

    trial: TrialRecord
    cost: float
    why: str
    end: str


@dataclass(frozen=True, slots=True)
class Example:
    """The example as it went.

    Attributes:
        world: The recorded job, with the batch sizes of the example.
        eta_knob: Weight of energy against time.
        trials: What happened.
        beliefs: What was expected of each batch size, by number of recurrences.
        truth: What each batch size costs on average, where it reaches the target.
    """

    world: World
    eta_knob: float
    trials: tuple[DecidedTrial, ...]
    beliefs: dict[int, list[Estimate]]
    truth: dict[int, float]


def play(world: World, plan: Plan) -> Example:
    """Play the example: the job of a world, with a few of its batch sizes."""
    world = replace(world, runs={size: runs for size, runs in world.runs.items() if size in BATCH_SIZES})
    (seed,) = plan.seeds
    backend = _WithReasons(*job_of(world, plan, seed))
    beliefs: dict[int, list[Estimate]] = {}
    done = 0

    def look() -> None:
        nonlocal done
        done += 1
        if done in BELIEFS_AFTER:
            (placement,) = insight.estimates(backend.job).placements
            beliefs[done] = placement.arms

    trials = replay_job(
        world, backend, seed=seed, recurrences=BELIEFS_AFTER[-1], survey=plan.survey, on_recurrence=look
    )
    decided = []
    for trial in trials:
        why, end = backend.reasons(trial.number)
        decided.append(
            DecidedTrial(trial, world.cost(trial.energy_joules, trial.time_seconds, plan.eta_knob), why, end)
        )
    truths = {size: true_figures(world, size, plan.eta_knob) for size in world.batch_sizes}
    truth = {size: figures["cost"] for size, figures in truths.items() if figures is not None}
    return Example(world, plan.eta_knob, tuple(decided), beliefs, truth)


class _WithReasons(InProcess):
    """A job whose reasons can be read afterwards."""

    def reasons(self, number: int) -> tuple[str, str]:
        """Return why a trial was begun, and why it ended."""
        trial = self._job.trial_numbered(number)
        assert trial is not None
        return trial.reason, trial.state_reason


def told_trials(example: Example) -> list[str]:
    """Return a Markdown table of the first trials, line by line."""
    lines = ["| run | batch size | limit | epochs | cost (kJ-eq) | it |", "|---|---|---|---|---|---|"]
    for decided in example.trials[:SHOWN_TRIALS]:
        trial = decided.trial
        limit = f"{trial.power_limit_watts} W" + (", measured" if trial.profiled_power_limits_watts else "")
        lines.append(
            f"| {trial.number} | {trial.batch_size} | {limit} | {trial.epochs} | {decided.cost / 1000:.1f} "
            f"| {trial.state.replace('stopped', 'was stopped')} |"
        )
    return lines


def told_beliefs(example: Example) -> list[str]:
    """Return a Markdown table of what was expected of each batch size, line by line."""
    numbers = list(example.beliefs)
    lines = [
        f"| batch size | {' | '.join(f'after {n}' for n in numbers)} | in truth |",
        "|---" * (len(numbers) + 2) + "|",
    ]
    for size in example.world.batch_sizes:
        cells = [_interval(next(a for a in example.beliefs[n] if a.batch_size == size)) for n in numbers]
        truth = f"{example.truth[size] / 1000:.0f}" if size in example.truth else "never"
        lines.append(f"| {size} | {' | '.join(cells)} | {truth} |")
    return lines


def saved_runs(example: Example, default_cost: float) -> list[float]:
    """Return how many runs of the default were saved in all after each recurrence."""
    costs = [0.0] * BELIEFS_AFTER[-1]
    for decided in example.trials:
        costs[decided.trial.recurrence - 1] += decided.cost
    return [n - spent / default_cost for n, spent in enumerate(accumulate(costs), start=1)]


def power_rows(example: Example, batch_size: int, etas: Sequence[float]) -> dict[float, dict[int, float]]:
    """Return the cost of an epoch under each limit over that of the best one, by ``eta_knob``."""
    world = example.world
    rows: dict[float, dict[int, float]] = {}
    for eta in etas:
        epochs = world.figures[batch_size]
        costs = {w: world.cost(e.energy_joules, e.time_seconds, eta) for w, e in epochs.items()}
        lowest = min(costs.values())
        rows[eta] = {watts: costs[watts] / lowest for watts in sorted(costs)}
    return rows


def as_json(example: Example) -> dict[str, Any]:
    """Return what the page says of the example."""
    return {
        "trials": told_trials(example),
        "beliefs": told_beliefs(example),
        "reasons": [[decided.trial.number, decided.why, decided.end] for decided in example.trials[:SHOWN_TRIALS]],
    }


def _interval(arm: Estimate) -> str:
    if arm.cost is None or arm.cost_low is None or arm.cost_high is None:
        return "unknown"
    return f"{arm.cost / 1000:.0f} ({arm.cost_low / 1000:.0f} to {arm.cost_high / 1000:.0f})"
