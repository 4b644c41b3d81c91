"""The command ``python -m benchmarks.story``."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.story import drawing, example, example_drawing, power
from benchmarks.story.savings import CHECKPOINTS, as_json, play
from rheostat.replay.run import Plan
from rheostat.replay.selection import select
from rheostat.replay.traces import read_power_trace, read_train_trace
from rheostat.replay.world import JobChoice

TRAIN, POWER = "summary_train.csv", "summary_power_v100.csv"
EXAMPLE = "cifar100"
FIRST_SEED = 20_000
"""No seed from here on was used to tune the recommender."""


def main(
    *,
    traces: Annotated[Path, typer.Option(help=f"Folder with {TRAIN} and {POWER} of the Zeus artifact.")],
    seeds: Annotated[int, typer.Option(min=1, help="How often each job is replayed.")] = 10,
    output: Annotated[Path, typer.Option(help="Folder of the figures.")] = Path("docs/figures"),
) -> None:
    """Replay recorded V100 training jobs; draw what they save, and one of them as a worked example."""
    output.mkdir(parents=True, exist_ok=True)
    trains, epochs = read_train_trace(traces / TRAIN), read_power_trace(traces / POWER)
    worlds = select(trains, [epochs], JobChoice()).worlds
    plan = Plan("rheostat", 0.5, 2.0, CHECKPOINTS[-1], tuple(range(FIRST_SEED, FIRST_SEED + seeds)))
    jobs = play(worlds, plan)
    drawing.savings(output / "savings.svg", jobs, seeds=seeds, eta_knob=plan.eta_knob)
    written = as_json(jobs, plan, "make figures TRACES=folder")
    written["power_alone"] = power.table(worlds).splitlines()
    (world,) = (world for world in worlds if world.workload.dataset == EXAMPLE)
    shown = example.play(world, replace(plan, seeds=plan.seeds[:1]))
    written["example"] = example.as_json(shown)
    example_drawing.draw(output, shown)
    (output / "savings.json").write_text(f"{json.dumps(written, indent=1)}\n", encoding="utf-8")
    typer.echo(written["sentence"])


if __name__ == "__main__":
    typer.run(main)
