"""What a replay came to: pure functions from its outcomes to JSON and a table."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import accumulate
from statistics import fmean
from typing import Any

from rheostat import __version__
from rheostat.replay.reference import recurrence_costs, worst_behind
from rheostat.replay.run import Outcome, Plan
from rheostat.replay.world import Expectation, World

CHECKPOINTS = (10, 20, 50, 100)

NOTE = "Recorded runs, replayed: what is compared are decisions, not measured joules."

Figures = dict[str, Any]


def summarize(plan: Plan, outcomes: Sequence[Outcome]) -> Figures:
    """Return all figures of a replay as JSON.

    ``excess`` after N recurrences is their cumulative cost over N times the oracle's, less 1. ``saved_percent`` is
    against as many recurrences of the default batch size at the highest power limit. Failed and stopped trials,
    surveys and the profiling of power limits are in both. ``worst_behind`` is the farthest that the job ever was behind
    always running the default at its best limit, under the same draws, in runs of the default; of a world the worst of
    its seeds. Costs are in joule equivalents.
    """
    worlds: list[World] = []
    for outcome in outcomes:
        if outcome.world not in worlds:
            worlds.append(outcome.world)
    return {
        "note": NOTE,
        "version": __version__,
        "plan": asdict(plan),
        "worlds": [_world(plan, world, [o for o in outcomes if o.world is world]) for world in worlds],
    }


def decisions(plan: Plan, outcome: Outcome) -> list[Figures]:
    """Return one line of JSON for each trial of an outcome; without what differs from one server to the next."""
    head = {**asdict(outcome.world.workload), "gpu_model": outcome.world.gpu_model, "seed": outcome.seed}
    return [
        {
            **head,
            **asdict(trial),
            "cost": outcome.world.cost(trial.energy_joules, trial.time_seconds, plan.eta_knob),
        }
        for trial in outcome.trials
    ]


def table(summary: Mapping[str, Any]) -> str:
    """Return the figures as a table, with what the reader must know to read it."""
    checkpoints = [f"at {n}" for n in summary["worlds"][0]["mean"]["excess"]]
    rows = [["workload", "GPU", "oracle", "default", *checkpoints, "behind", "energy", "time", "cost"]]
    notes = []
    for world in summary["worlds"]:
        mean, oracle = world["mean"], world["oracle"]
        rows.append(
            [
                f"{world['dataset']}/{world['network']}/{world['optimizer']}",
                world["gpu_model"],
                f"{oracle['batch_size']} at {oracle['power_limit_watts']} W",
                str(world["default_batch_size"]),
                *(f"{excess:.3f}" for excess in mean["excess"].values()),
                "-" if world["worst_behind"] is None else f"{world['worst_behind']:.2f}",
                *(f"{mean['saved_percent'][figure]:.1f} %" for figure in ("energy", "time", "cost")),
            ]
        )
        if world["unrecorded_batch_sizes"]:
            left_out = ", ".join(map(str, world["unrecorded_batch_sizes"]))
            notes.append(f"{world['dataset']} on {world['gpu_model']}: no run of {left_out} recorded; left out.")
    plan = summary["plan"]
    seeds = len(plan["seeds"])
    head = (
        f"Policy {plan['policy']}, eta_knob {plan['eta_knob']:g}, {plan['recurrences']} recurrences, mean over "
        f"{seeds} seed{'s' if seeds > 1 else ''}.\n"
        "Excess over the oracle after N recurrences; the worst that a seed ever was behind always running the default, "
        "in runs of it;\nenergy, time and cost saved against the default at the highest limit.\n"
    )
    return "\n".join([head, *aligned(rows, words=3), "", *notes, NOTE])


def _world(plan: Plan, world: World, outcomes: Sequence[Outcome]) -> Figures:
    oracle, baseline = world.oracle(plan.eta_knob), world.baseline(plan.eta_knob)
    seeds = [_seed(plan, outcome, oracle, baseline) for outcome in outcomes]
    behind = [seed["worst_behind"] for seed in seeds if seed["worst_behind"] is not None]
    return {
        **asdict(world.workload),
        "gpu_model": world.gpu_model,
        "target": asdict(world.target),
        "max_epochs": world.max_epochs,
        "default_batch_size": world.default_batch_size,
        "batch_sizes": list(world.batch_sizes),
        "unrecorded_batch_sizes": list(world.unrecorded_batch_sizes),
        "power_limits_watts": list(world.power_limits_watts),
        "max_power_limit_watts": world.max_power_limit_watts,
        "oracle": asdict(oracle),
        "baseline": asdict(baseline),
        "mean": {
            group: {key: fmean(seed[group][key] for seed in seeds) for key in seeds[0][group]}
            for group in ("excess", "saved_percent")
        },
        "worst_behind": max(behind, default=None),
        "seeds": seeds,
    }


def _seed(plan: Plan, outcome: Outcome, oracle: Expectation, baseline: Expectation) -> Figures:
    costs = recurrence_costs(outcome.world, outcome.trials, recurrences=plan.recurrences, eta_knob=plan.eta_knob)
    cumulative = list(accumulate(costs))
    energy = sum(trial.energy_joules for trial in outcome.trials)
    time = sum(trial.time_seconds for trial in outcome.trials)
    reached = [n for n in CHECKPOINTS if n <= plan.recurrences] or [plan.recurrences]
    return {
        "seed": outcome.seed,
        "job_id": outcome.job_id,
        "trials": len(outcome.trials),
        "energy_joules": energy,
        "time_seconds": time,
        "cost": cumulative[-1],
        "excess": {str(n): cumulative[n - 1] / (n * oracle.cost) - 1 for n in reached},
        "worst_behind": worst_behind(outcome.world, costs, seed=outcome.seed, eta_knob=plan.eta_knob),
        "saved_percent": {
            figure: 100 * (1 - spent / (plan.recurrences * expected))
            for figure, spent, expected in (
                ("energy", energy, baseline.energy_joules),
                ("time", time, baseline.time_seconds),
                ("cost", cumulative[-1], baseline.cost),
            )
        },
        "recurrence_costs": costs,
    }


def aligned(rows: Sequence[Sequence[str]], *, words: int) -> list[str]:
    """Return rows in columns: the first ones are words, to the left, the others figures, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if at < words else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
