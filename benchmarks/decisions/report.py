"""The command ``python -m benchmarks.decisions.report``: one page about the decisions, with figures."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer

from benchmarks.decisions import figures
from benchmarks.decisions.__main__ import play_all, table
from benchmarks.decisions.calibration import Coverage, shares, watch
from benchmarks.decisions.scenarios import Game, one_at_a_time
from benchmarks.decisions.synthetic import synthetic_worlds
from benchmarks.decisions.worlds import recorded_worlds
from rheostat.replay.report import aligned

RHEOSTAT, UNSURVEYED = "rheostat", "rheostat, no survey"
SHOWN = (RHEOSTAT, UNSURVEYED, "zeus", "default", "floor")

PAGE = """# How good the decisions are

How near [the recommender](recommender.md) comes to the best possible, and what it may lose on the way; for recorded
runs, yours among them, see [replay](replay.md).

Made by `{made_by}`: {source}, {seeds} seeds each, one run at a
time. All of it is simulated: what is compared are decisions, not measured joules.

The excess is the cost of all recurrences so far over what the best batch size and power limit would have cost, less 1;
failed and stopped runs and all measuring are included. "default" always runs the default at its best limit, "floor"
runs it once, measuring all limits, and the best choice from then on, "oracle" the best choice from the first run.
`+- worlds` and `+- seeds` are the standard errors of the last column of excess over worlds and over seeds;
`behind 95 %` is how far, in runs of the default, a policy was once behind "default" in the worst twentieth of all
games, and `> 1.5` the share of games in which that was more than 1.5 runs.

```
{table}
```

![Excess over the recurrences](decisions-excess.svg)

![How far behind the default](decisions-behind.svg)

## Do the intervals hold?

How often the truth of a world lies in the 50 % and 95 % intervals of the recommender, over all batch sizes that can
reach the target, tried or not, after so many recurrences. The cost is that of a success at the best limit.

```
{calibration}
```

![Share of intervals that hold the truth](decisions-calibration.svg)
"""


def main(
    *,
    traces: Annotated[
        Path | None, typer.Option(help="Folder with recorded traces, in place of made-up worlds.")
    ] = None,
    synthetic: Annotated[int, typer.Option(min=1, help="How many made-up worlds.")] = 24,
    seeds: Annotated[int, typer.Option(min=2, help="How often each job is played.")] = 5,
    first_seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    processes: Annotated[int | None, typer.Option(min=1, help="How many at once. (Default: one a core.)")] = None,
    output: Annotated[Path, typer.Option(help="Folder of the page and its figures.")] = Path("docs"),
) -> None:
    """Play recurring jobs and write a page about what the decisions cost."""
    worlds = synthetic_worlds(synthetic) if traces is None else recorded_worlds(traces)
    games = one_at_a_time(worlds, (RHEOSTAT, "zeus"), "worlds")
    games += [replace(game, survey=False) for game in games if game.player == RHEOSTAT]
    played = play_all(games, range(first_seed, first_seed + seeds), processes)
    for game, figure in zip(games, played, strict=True):
        if game.player == RHEOSTAT and not game.survey:
            figure["player"] = UNSURVEYED
    watched = watch_all(
        [game for game in games if game.player == RHEOSTAT and game.survey], seeds, first_seed, processes
    )
    options = f"--seeds {seeds} --first-seed {first_seed}"
    source, made_by = f"{len(worlds)} recorded worlds", f"make bench-report TRACES=FOLDER BENCH='{options}'"
    if traces is None:
        source = f"{len(worlds)} made-up worlds"
        made_by = f"make bench-report BENCH='--synthetic {synthetic} {options}'"
    write(output, played, watched, source=source, seeds=seeds, made_by=made_by)
    typer.echo(f"Written to {output / 'decisions.md'}.")


def watch_all(games: Sequence[Game], seeds: int, first_seed: int, processes: int | None) -> list[Coverage]:
    """Return what the intervals held in all games."""
    with ProcessPoolExecutor(processes, mp_context=get_context("forkserver")) as pool:
        tasks = [pool.submit(watch, game, seed) for game in games for seed in range(first_seed, first_seed + seeds)]
        return [one for task in tasks for one in task.result()]


def write(
    folder: Path,
    played: Sequence[dict[str, Any]],
    watched: Sequence[Coverage],
    *,
    source: str,
    seeds: int,
    made_by: str,
) -> None:
    """Write the page and its figures into a folder."""
    of_player = {name: [game for game in played if game["player"] == name] for name in SHOWN}
    excess = {
        name: {int(n): fmean(fmean(game["excess"][n]) for game in games) for n in games[0]["excess"]}
        for name, games in of_player.items()
    }
    held = shares(watched)
    figures.lines(
        folder / "decisions-excess.svg",
        excess,
        x_label="recurrences",
        y_label="mean excess over the oracle",
        log_y=True,
    )
    figures.shares_beyond(
        folder / "decisions-behind.svg",
        {name: [runs for game in of_player[name] for runs in game["worst_behind"]] for name in SHOWN[:3]},
        x_label="worst behind the default, in runs of it",
        y_label="share of games beyond",
    )
    figures.lines(
        folder / "decisions-calibration.svg",
        {f"{figure}, {100 * level:g} %": by_n for (figure, level), by_n in held.items()},
        x_label="recurrences",
        y_label="share that holds the truth",
        marks=tuple(sorted({level for _, level in held})),
    )
    page = PAGE.format(
        source=source,
        seeds=seeds,
        made_by=made_by,
        table=table(played),
        calibration=calibration_table(held),
    )
    (folder / "decisions.md").write_text(page, encoding="utf-8")


def calibration_table(held: dict[tuple[str, float], dict[int, float]]) -> str:
    """Return the shares as a table, a row for each figure and level."""
    numbers = sorted({n for by_n in held.values() for n in by_n})
    rows = [["figure", "claimed", *(f"after {n}" for n in numbers)]]
    for (figure, level), by_n in held.items():
        rows.append([figure, f"{level:.2f}", *(f"{by_n[n]:.2f}" if n in by_n else "" for n in numbers)])
    return "\n".join(aligned(rows, words=1))


if __name__ == "__main__":
    typer.run(main)
