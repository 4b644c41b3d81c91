"""Worlds made up at random, so that anyone can compare policies without recorded traces.

Each is drawn from wide families: how epochs to the target and epoch costs depend on the batch size, how runs differ
from seed to seed, which batch sizes never converge, how a GPU slows down under a power limit. The families are not
fitted to any trace; neither were the policies to them.
"""

from dataclasses import replace
from math import ceil

import numpy as np

from rheostat.policy.learning_curve import Target
from rheostat.replay.traces import EpochFigures, Workload
from rheostat.replay.world import RecordedRun, World

LIMITS_WATTS = tuple(range(300, 75, -25))
RUNS_PER_BATCH_SIZE = 6
IDLE_WATTS = 60.0
SETUP_WATTS, EVALUATION_WATTS = 80.0, 150.0


def synthetic_worlds(count: int, first: int = 0) -> list[World]:
    """Return worlds, each drawn from a seed of its own: the same number makes the same world."""
    return [synthetic_world(number) for number in range(first, first + count)]


def synthetic_world(number: int) -> World:
    """Return the world of a number."""
    random = np.random.default_rng([number, 2023])
    while True:
        world = _draw(random, number)
        default = world.runs[world.default_batch_size]
        if sum(run.epochs_to_target is not None for run in default) * 2 > len(default):
            return world


def with_overheads(world: World, *, setup_epochs: float, evaluation_epochs: float) -> World:
    """Return a world whose runs take longer than their steps.

    Args:
        world: Without that.
        setup_epochs: How long each run takes before its first step, in epochs of the default at the highest limit ...
        evaluation_epochs: ... and how long each evaluation, likewise.
    """
    seconds = world.figures[world.default_batch_size][world.power_limits_watts[0]].time_seconds
    return replace(
        world,
        setup=EpochFigures(setup_epochs * seconds, SETUP_WATTS),
        evaluation=EpochFigures(evaluation_epochs * seconds, EVALUATION_WATTS),
    )


def _draw(random: np.random.Generator, number: int) -> World:
    arms = int(random.integers(5, 12))
    smallest = 2 ** int(random.integers(2, 6))
    sizes = [smallest * 2**step for step in range(arms)]
    default = int(random.integers(1, arms - 1))
    max_epochs = int(random.choice([12, 30, 60, 120]))
    return World(
        workload=Workload(f"synthetic-{number}", "none", "none"),
        gpu_model="synthetic",
        target=Target("metric", 1.0, maximize=True),
        max_epochs=max_epochs,
        default_batch_size=sizes[default],
        min_power_limit_watts=LIMITS_WATTS[-1],
        max_power_limit_watts=LIMITS_WATTS[0],
        power_limits_watts=LIMITS_WATTS,
        unrecorded_batch_sizes=(),
        runs=_runs(random, sizes, default, max_epochs),
        figures=_figures(random, sizes, default),
    )


def _runs(
    random: np.random.Generator, sizes: list[int], default: int, max_epochs: int
) -> dict[int, tuple[RecordedRun, ...]]:
    """Draw runs whose epochs grow with the batch size, bend upwards at the ends, and differ from seed to seed."""
    slope, bend = random.normal(0.2, 0.25), abs(random.normal(0.0, 0.12))
    noise = random.uniform(0.03, 0.25)
    at_default = max_epochs * random.uniform(0.15, 0.6)
    lowest, highest = random.integers(-1, 2), len(sizes) - random.integers(-1, 3)
    flakiness = random.choice([0.0, 0.0, 0.2])
    steps, bow = int(random.integers(4, 16)), random.uniform(1.0, 3.0)
    runs = {}
    for at, size in enumerate(sizes):
        distance = at - default
        usual = at_default * np.exp(slope * distance + bend * distance**2 / 2 + random.normal(0, 0.05))
        fails = 1.0 if not lowest <= at < highest else flakiness * (at in (lowest, highest - 1))
        epochs = [usual * np.exp(random.normal(0, noise)) for _ in range(RUNS_PER_BATCH_SIZE)]
        runs[size] = tuple(_run(n, max_epochs, steps, bow, fails=random.random() < fails) for n in epochs)
    return runs


def _run(epochs: float, max_epochs: int, steps: int, bow: float, *, fails: bool) -> RecordedRun:
    """Return a run whose metric rises more and more slowly; one that fails stays below the target."""
    highest = steps // 2 if fails else steps
    reached = [(ceil(max(epochs, 1.0) * (step / steps) ** bow), step / steps) for step in range(1, highest + 1)]
    levels = tuple((epoch, level) for epoch, level in reached if epoch <= max_epochs)
    done = levels[-1][0] if levels and levels[-1][1] == 1.0 else None
    return RecordedRun(levels, done, start=0.0)


def _figures(random: np.random.Generator, sizes: list[int], default: int) -> dict[int, dict[int, EpochFigures]]:
    """Draw epochs of which a share shrinks with the number of steps, and a GPU that is busier with larger batches."""
    step_bound, seconds = random.uniform(0.02, 0.98), random.uniform(10.0, 1000.0)
    demand_at_default, growth = random.uniform(100.0, 320.0), random.uniform(0.0, 40.0)
    exponent = random.uniform(0.2, 0.8)
    figures = {}
    for at, size in enumerate(sizes):
        distance = at - default
        time = seconds * (step_bound * 2.0**-distance + 1.0 - step_bound)
        demand = float(np.clip(demand_at_default + growth * distance, 70.0, 330.0))
        figures[size] = {limit: _epoch(time, demand, limit, exponent) for limit in LIMITS_WATTS}
    return figures


def _epoch(seconds: float, demand_watts: float, limit_watts: int, exponent: float) -> EpochFigures:
    """Return an epoch under a limit: one below the demand slows it down, by less than in proportion."""
    watts = min(demand_watts, float(limit_watts))
    slowed = seconds * ((demand_watts - IDLE_WATTS / 2) / (watts - IDLE_WATTS / 2)) ** exponent
    return EpochFigures(time_seconds=slowed, power_watts=watts)
