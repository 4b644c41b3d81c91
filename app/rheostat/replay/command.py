"""The command ``rheostat replay``. It imports what it needs when it runs, so that the command line starts at once."""

# ruff: noqa: PLC0415

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import Annotated

import typer


class Direction(StrEnum):
    """Which metric is the better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


def replay(
    *,
    train: Annotated[Path, typer.Option(help="Recorded runs: summary_train.csv.")],
    power: Annotated[list[Path], typer.Option(help="Epochs on a GPU: summary_power_*.csv. Repeatable.")],
    gpu: Annotated[
        list[str] | None, typer.Option(help="Name of each --power file's GPU. (Default: from the file's name.)")
    ] = None,
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="What to replay. Repeatable. (Default: all in both files that make a job.)"),
    ] = None,
    network: Annotated[str | None, typer.Option(help="Only workloads with this network.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="Only workloads with this optimizer.")] = None,
    target: Annotated[float | None, typer.Option(help="Metric to reach. (Default: as published.)")] = None,
    direction: Annotated[
        Direction | None, typer.Option(help="Which metric is better. (Default: as published, else maximize.)")
    ] = None,
    max_epochs: Annotated[
        int | None, typer.Option(min=1, help="A run has failed by then. (Default: as published.)")
    ] = None,
    default_batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="What you would have used; at most the largest. (Default: as published.)"),
    ] = None,
    eta_knob: Annotated[float, typer.Option(min=0, max=1, help="Weight of energy against time.")] = 0.5,
    beta_knob: Annotated[
        float, typer.Option(min=0, help="Stop a run at this multiple of the lowest cost; 0: never.")
    ] = 2.0,
    policy: Annotated[str, typer.Option(help="Name of the policy that decides.")] = "rheostat",
    recurrences: Annotated[int, typer.Option(min=1, help="How often each job recurs.")] = 100,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to average over.")] = 10,
    first_seed: Annotated[int, typer.Option(min=0, help="The first of them; the others follow.")] = 0,
    concurrency: Annotated[int, typer.Option(min=1, help="How many recurrences are launched together.")] = 1,
    survey: Annotated[
        bool,
        typer.Option(
            "--survey/--no-survey",
            help="Measure the cost of an epoch of every batch size before the first run, where the policy asks for it.",
        ),
    ] = True,
    server: Annotated[
        str | None,
        typer.Option(help="Ask this server, over HTTP, instead of deciding in this process. Its jobs stay there."),
    ] = None,
    job_id: Annotated[str | None, typer.Option(help="Name of the job on the server, if it is only one.")] = None,
    json: Annotated[
        typer.FileTextWrite | None,
        typer.Option(lazy=False, help="Write all figures to this file; -: to standard output, in place of the table."),
    ] = None,
    decisions: Annotated[
        typer.FileTextWrite | None, typer.Option(lazy=False, help="Write every trial to this file, as JSON lines.")
    ] = None,
) -> None:
    """Replay recorded training runs under a policy and compare its cost with the best possible.

    Without --target, --max-epochs and --default-batch-size the jobs of the Zeus paper (NSDI 2023) on cifar100,
    imagenet, librispeech and sentiment140 are replayed; other datasets are left out. What it shows are decisions on
    recorded runs, not joules that were measured.
    """
    from json import dumps

    from rheostat.errors import InvalidInput
    from rheostat.replay import report
    from rheostat.replay.run import Plan, replay_worlds
    from rheostat.replay.selection import select
    from rheostat.replay.traces import read_power_trace, read_train_trace
    from rheostat.replay.world import JobChoice

    if gpu and len(gpu) != len(power):
        raise InvalidInput(f"--gpu is given {len(gpu)} times and --power {len(power)} times.", hint="Give as many.")
    recorded = read_train_trace(train)
    traces = [read_power_trace(path, name) for path, name in zip_longest(power, gpu or ())]
    choice = JobChoice(target, direction.value if direction else None, max_epochs, default_batch_size)
    selection = select(recorded, traces, choice, datasets=dataset or (), network=network, optimizer=optimizer)
    for text in selection.left_out:
        typer.echo(f"Left out: {text}", err=True)
    worlds = selection.worlds
    for world in worlds:
        world.baseline(eta_knob)
    plan = Plan(
        policy=policy,
        eta_knob=eta_knob,
        beta_knob=beta_knob or None,
        recurrences=recurrences,
        seeds=tuple(range(first_seed, first_seed + seeds)),
        concurrency=concurrency,
        server=server,
        job_id=job_id,
        survey=survey,
    )
    with _progress(len(worlds) * seeds * recurrences) as advance:
        outcomes = list(replay_worlds(worlds, plan, advance))
    summary = report.summarize(plan, outcomes)
    if decisions is not None:
        decisions.writelines(f"{dumps(line)}\n" for outcome in outcomes for line in report.decisions(plan, outcome))
    if json is not None:
        json.write(f"{dumps(summary, indent=2)}\n")
    if json is None or json.name != "<stdout>":
        typer.echo(report.table(summary))


@contextmanager
def _progress(recurrences: int) -> Iterator[Callable[[], None]]:
    """Show a bar on standard error, unless that is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("recurrences"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=recurrences)
        yield lambda: progress.advance(task)
