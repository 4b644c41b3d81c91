"""The command ``python -m benchmarks.attack``."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from benchmarks.attack.excess import EXCESS
from benchmarks.attack.heads import HEADS
from benchmarks.attack.jobs import JOBS
from benchmarks.attack.kills import kill_loop
from benchmarks.attack.odd import ODD
from benchmarks.attack.races import RACES
from benchmarks.attack.running import attacked, word
from benchmarks.attack.target import Attack
from benchmarks.server.big import fill
from benchmarks.server.comparison import DURABLE
from tests.postgres import PostgresServer

_SMALL = {"heads": HEADS, "odd": ODD, "races": RACES, "excess": EXCESS}
"""The kinds that need no big job."""

KINDS = (*_SMALL, "jobs", "kills")


def main(
    kinds: Annotated[list[str] | None, typer.Argument(help=f"Which kinds: {', '.join(KINDS)}. (Default: all.)")] = None,
    *,
    only: Annotated[list[str] | None, typer.Option(help="Only attacks whose names contain this. Repeatable.")] = None,
    postgres: Annotated[bool, typer.Option("--postgres", help="On PostgreSQL instead of SQLite.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes of the server.")] = 1,
    trials: Annotated[int, typer.Option(min=100, help="Trials of the big job.")] = 100_000,
    jobs: Annotated[int, typer.Option(min=1, help="Small jobs beside it.")] = 5000,
    reports: Annotated[int, typer.Option(min=0, help="Reports of the big job.")] = 1_100_000,
    kills: Annotated[int, typer.Option(min=1, help="How often the server is killed.")] = 200,
    quiet_seconds: Annotated[float, typer.Option(min=0.1, help="How long the quiet before each attack is.")] = 4.0,
) -> None:
    """Attack a server of its own, print what others paid, and exit with 1 where a bound does not hold."""
    chosen = kinds or KINDS
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="rheostat-attack-")))
        pg = stack.enter_context(PostgresServer(**DURABLE)) if postgres else None

        def new_database(name: str) -> str:
            return f"sqlite:///{folder / name}.db" if pg is None else pg.create_database()

        def hold(attacks: Sequence[Attack], url: str) -> bool:
            wanted = [attack for attack in attacks if any(part in attack.name for part in only or ("",))]
            rows = attacked(wanted, url, folder, workers=workers, quiet_seconds=quiet_seconds)
            return all(row.kept for row in rows)

        held = True
        if small := [attack for kind, attacks in _SMALL.items() if kind in chosen for attack in attacks]:
            held &= hold(small, new_database("small"))
        if "jobs" in chosen:
            url = new_database("big")
            fill(url, length=trials, small_jobs=jobs, reports=reports)
            held &= hold(JOBS, url)
        if "kills" in chosen:
            verdict = kill_loop(new_database("kills"), folder, workers, kills)
            typer.echo(f"{word(held=verdict.held)} {verdict.words}")
            held &= verdict.held
    raise typer.Exit(0 if held else 1)


if __name__ == "__main__":
    typer.run(main)
