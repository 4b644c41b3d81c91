"""The command ``python -m benchmarks.decisions``."""

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any

import typer

from benchmarks.decisions import scenarios
from benchmarks.decisions.scenarios import CHECKPOINTS, Game
from benchmarks.decisions.synthetic import synthetic_worlds, with_overheads
from benchmarks.decisions.worlds import recorded_worlds
from rheostat import __version__
from rheostat.replay.report import NOTE, aligned

POLICIES = ("rheostat", "zeus")
FAR_BEHIND = 1.5
"""Runs of the default."""

ETAS = (0.0, 0.25, 0.75, 1.0)


def main(
    *,
    traces: Annotated[
        Path | None, typer.Option(help="Folder with recorded traces; without it only made-up worlds.")
    ] = None,
    synthetic: Annotated[int, typer.Option(min=0, help="How many made-up worlds.")] = 24,
    first_world: Annotated[int, typer.Option(min=0, help="Number of the first of them.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="How often each job is played.")] = 10,
    first_seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    recurrences: Annotated[int, typer.Option(min=CHECKPOINTS[0], help="How often each job recurs.")] = CHECKPOINTS[-1],
    setup_epochs: Annotated[
        float, typer.Option(min=0, help="What each run takes before its first step, in epochs of the default.")
    ] = 0.0,
    evaluation_epochs: Annotated[float, typer.Option(min=0, help="What each evaluation takes, likewise.")] = 0.0,
    policy: Annotated[list[str] | None, typer.Option(help="Policies to compare. Repeatable.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only the jobs that recur one at a time.")] = False,
    processes: Annotated[int | None, typer.Option(min=1, help="How many at once. (Default: one a core.)")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """Play recurring jobs under several policies, and print their mean excess cost over the oracle."""
    policies = tuple(policy or POLICIES)
    games = games_of("made up", synthetic_worlds(synthetic, first_world), policies, quick=quick) if synthetic else []
    if traces is not None:
        games = games_of("recorded", recorded_worlds(traces), policies, quick=quick) + games
    overheads = partial(with_overheads, setup_epochs=setup_epochs, evaluation_epochs=evaluation_epochs)
    games = [
        replace(
            game,
            recurrences=recurrences,
            world=overheads(game.world),
            before=None if game.before is None else overheads(game.before),
        )
        for game in games
    ]
    played = play_all(games, range(first_seed, first_seed + seeds), processes)
    typer.echo(table(played))
    typer.echo(NOTE)
    if json_file is not None:
        content = {"note": NOTE, "version": __version__, "seeds": seeds, "first_seed": first_seed, "games": played}
        json_file.write_text(f"{json.dumps(content, indent=1)}\n", encoding="utf-8")


def games_of(heading: str, worlds: Sequence[Any], policies: Sequence[str], *, quick: bool) -> list[Game]:
    """Return all that is played on some worlds."""
    games = scenarios.one_at_a_time(worlds, policies, heading)
    if not quick:
        games += scenarios.together(worlds, policies, heading, 4)
        games += scenarios.drift(worlds, policies, heading)
        games += scenarios.transfer(worlds, policies, heading)
        games += scenarios.eta_sweep(worlds, policies, heading, ETAS)
    return games


def play_all(games: Sequence[Game], seeds: Sequence[int], processes: int | None = None) -> list[dict[str, Any]]:
    """Play every game with every seed; return one entry a game."""
    # Not by a plain fork, which is not safe from a process that has threads.
    with ProcessPoolExecutor(processes, mp_context=get_context("forkserver")) as pool:
        tasks = [[pool.submit(game.figures, seed) for seed in seeds] for game in games]
        return [
            {
                "scenario": game.scenario,
                "player": game.player,
                "workload": str(game.world.workload),
                "gpu_model": game.world.gpu_model,
                "excess": {str(n): [task.result().excess[n] for task in row] for n in game.checkpoints},
                "worst_behind": [task.result().worst_behind for task in row],
            }
            for game, row in zip(games, tasks, strict=True)
        ]


def table(played: Sequence[dict[str, Any]]) -> str:
    """Return what each scenario and player came to, over worlds and seeds.

    The mean excess with its standard errors over the worlds and over the seeds at the end, the worst world at the end,
    how far behind the default the worst twentieth of all games once was, and the share of games that once were more
    than 1.5 runs behind it.
    """
    checkpoints = sorted({int(n) for game in played for n in game["excess"]})
    heads = (*(f"at {n}" for n in checkpoints), "+- worlds", "+- seeds", "worst", "behind 95 %", f"> {FAR_BEHIND:g}")
    rows = [["scenario", "player", "worlds", *heads]]
    for scenario, player in dict.fromkeys((game["scenario"], game["player"]) for game in played):
        games = [game for game in played if (game["scenario"], game["player"]) == (scenario, player)]
        means = {n: [fmean(game["excess"][str(n)]) for game in games] for n in checkpoints}
        figures = [f"{fmean(means[n]):.3f}" for n in checkpoints]
        last = means[checkpoints[-1]]
        behind = sorted(runs for game in games for runs in game["worst_behind"])
        far = sum(runs > FAR_BEHIND for runs in behind) / len(behind)
        of_seeds = [fmean(row) for row in zip(*(game["excess"][str(checkpoints[-1])] for game in games), strict=True)]
        worst_twentieth = behind[int(0.95 * (len(behind) - 1))]
        tail = (
            f"{_standard_error(last):.3f}",
            f"{_standard_error(of_seeds):.3f}",
            f"{max(last):.3f}",
            f"{worst_twentieth:.2f}",
            f"{far:.3f}",
        )
        rows.append([scenario, player, str(len(games)), *figures, *tail])
    return "\n".join(aligned(rows, words=2))


def _standard_error(values: Sequence[float]) -> float:
    return float(stdev(values) / len(values) ** 0.5) if len(values) > 1 else 0.0


if __name__ == "__main__":
    typer.run(main)
