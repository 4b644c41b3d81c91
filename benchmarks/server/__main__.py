"""The command ``python -m benchmarks.server``."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.server.comparison import HEADING, histories, line, load, running
from benchmarks.server.servers import peer_python

NOTE = """\
One cycle is predict and a report that ends the trial; all on loopback, the load, the servers and the databases on the
same machine: only ratios mean something, and only within one run. The peer decides by Gaussian Thompson sampling; the
policy zeus is the same, and the policy rheostat is what jobs get by default."""


def main(
    *,
    database: Annotated[list[str] | None, typer.Option(help="sqlite or postgresql. Repeatable.")] = None,
    policy: Annotated[list[str] | None, typer.Option(help="Policies of our jobs. Repeatable.")] = None,
    clients: Annotated[list[int] | None, typer.Option(min=1, help="How many at once. Repeatable.")] = None,
    trials: Annotated[list[int] | None, typer.Option(min=1, help="Lengths of the past. Repeatable.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long each is measured.")] = 4.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes of each server; on PostgreSQL only.")] = 1,
    peer: Annotated[bool, typer.Option(help="Whether to measure the peer, too.")] = True,
    environment: Annotated[Path, typer.Option(help="Where the peer is installed.")] = Path("build/peer"),
) -> None:
    """Put this server and its peer under the same load, and print how they compare."""
    python = peer_python(environment.absolute()) if peer else None
    typer.echo(HEADING)
    for kind in database or ("sqlite", "postgresql"):
        with running(kind, python, workers) as pair:
            for name in policy or ("zeus", "rheostat"):
                label = f"{kind} {name}"
                for row in load(pair, name, clients or (1, 8, 32), seconds, label):
                    typer.echo(line(row))
                for row in histories(pair, name, trials or (10, 1000, 10_000, 100_000), seconds, label):
                    typer.echo(line(row))
    typer.echo(NOTE)


if __name__ == "__main__":
    typer.run(main)
