"""The command ``python -m benchmarks.attack``."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Annotated

import typer

from benchmarks.attack.bystander import Bystander, Latencies, watching
from benchmarks.attack.heads import HEADS
from benchmarks.attack.jobs import JOBS
from benchmarks.attack.kills import kill_loop
from benchmarks.attack.odd import ODD
from benchmarks.attack.races import RACES
from benchmarks.attack.target import Attack, Row, Target, Verdict, serving
from benchmarks.server.big import fill
from benchmarks.server.comparison import DURABLE
from tests.postgres import PostgresServer

QUIET_SECONDS = 4.0
"""How long the innocent client alone is watched before each attack, for the noise of this machine."""

AFTERMATH_SECONDS = 1.0

_SMALL = {"heads": HEADS, "odd": ODD, "races": RACES}
"""The kinds that need no big job."""

KINDS = (*_SMALL, "jobs", "kills")


def main(
    kinds: Annotated[list[str] | None, typer.Argument(help=f"Which kinds: {', '.join(KINDS)}. (Default: all.)")] = None,
    *,
    only: Annotated[str, typer.Option(help="Only attacks whose names contain this.")] = "",
    postgres: Annotated[bool, typer.Option("--postgres", help="On PostgreSQL instead of SQLite.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes of the server.")] = 1,
    trials: Annotated[int, typer.Option(min=100, help="Trials of the big job.")] = 100_000,
    jobs: Annotated[int, typer.Option(min=1, help="Small jobs beside it.")] = 5000,
    reports: Annotated[int, typer.Option(min=0, help="Reports of the big job.")] = 1_100_000,
    kills: Annotated[int, typer.Option(min=1, help="How often the server is killed.")] = 200,
) -> None:
    """Attack a server of its own, print what it cost, and exit with 1 where a bound does not hold."""
    chosen = kinds or KINDS
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="rheostat-attack-")))
        url = f"sqlite:///{folder / 'rheostat.db'}"
        pg = stack.enter_context(PostgresServer(**DURABLE)) if postgres else None
        held = True
        if small := [attack for kind, attacks in _SMALL.items() if kind in chosen for attack in attacks]:
            held &= _attacked(small, pg.create_database() if pg else url, folder, workers, only)
        if "jobs" in chosen:
            big_url = pg.create_database() if pg else f"sqlite:///{folder / 'big.db'}"
            fill(big_url, length=trials, small_jobs=jobs, reports=reports)
            held &= _attacked(JOBS, big_url, folder, workers, only)
        if "kills" in chosen:
            verdict = kill_loop(
                pg.create_database() if pg else f"sqlite:///{folder / 'kills.db'}", folder, workers, kills
            )
            typer.echo(f"{'kept' if verdict.held else 'BROKEN':6} {verdict.words}")
            held &= verdict.held
    raise typer.Exit(0 if held else 1)


def _attacked(attacks: Sequence[Attack], url: str, folder: Path, workers: int, only: str) -> bool:
    typer.echo(_HEADING)
    with serving(url, folder, workers) as target, watching(target.port) as bystander:
        rows = [_run(attack, target, bystander) for attack in attacks if only in attack.name]
    return all(row.kept for row in rows)


def _run(attack: Attack, target: Target, bystander: Bystander) -> Row:
    bystander.forget()
    sleep(QUIET_SECONDS)
    quiet = bystander.seen()
    target.reset_peak()
    before = target.peak_megabytes()
    bystander.forget()
    began = perf_counter()
    try:
        verdict = attack.run(target)
    except Exception as error:
        verdict = Verdict(f"{type(error).__name__}: {error}", held=False)
    seconds = perf_counter() - began
    sleep(AFTERMATH_SECONDS)
    row = Row(attack, verdict, bystander.seen(), quiet, target.peak_megabytes() - before, seconds)
    typer.echo(
        f"{'kept' if row.kept else 'BROKEN':6} {attack.name:32} {row.quiet_milliseconds:6.0f} "
        f"{_figures(row.seen.requests)} {_figures(row.seen.probes)} {row.megabytes:+6.0f} {seconds:7.1f} "
        f" {verdict.words}"
    )
    return row


_COLUMNS = f"{'n':>5} {'p50':>6} {'p99':>7} {'max ms':>7} {'failed':>6}"
_HEADING = (
    f"{'':46} {'predict and observe':^35} {'/readyz':^35}\n"
    f"{'':39} {'quiet':>6} {_COLUMNS} {_COLUMNS} {'MB':>6} {'seconds':>7}"
)


def _figures(latencies: Latencies) -> str:
    return (
        f"{len(latencies.seconds):5} {latencies.percentile(0.5):6.1f} {latencies.percentile(0.99):7.1f} "
        f"{latencies.percentile(1):7.1f} {len(latencies.failures):6}"
    )


if __name__ == "__main__":
    typer.run(main)
