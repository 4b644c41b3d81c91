"""The commands `rheostat spool`: what waits on this machine for a server. They import lazily."""

from typing import Annotated

import typer

from rheostat.cli.words import counted, say_if_none

spool = typer.Typer(help="List and send the reports that wait on this machine for a server.", no_args_is_help=True)

ServerUrl = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="RHEOSTAT_URL",
        help="Address of the server. (Default: http://127.0.0.1:8420.)",
        show_default=False,
    ),
]
OldUrl = Annotated[
    str | None,
    typer.Option(
        "--from",
        help="Send what waits for this address, as of a server that has moved: its database must be the same.",
        show_default=False,
    ),
]
NewUrl = Annotated[
    str | None, typer.Option("--to", help="Send it to this address instead of --server's.", show_default=False)
]


@spool.command("list")
def list_spool() -> None:
    """List the files in the spool: path, number of reports, and the server that they are for."""
    from rheostat.sdk.spool import spool_directory, spool_files

    files = spool_files(spool_directory())
    say_if_none(len(files), f"No reports wait in {spool_directory()}.")
    for left in files:
        typer.echo(f"{left.path}\t{counted(len(left.requests), 'report')}\t{left.url}")


@spool.command("send")
def send_spool(server: ServerUrl = None, moved_from: OldUrl = None, moved_to: NewUrl = None) -> None:
    """Send the waiting reports of a server now; exits with 1 if some still wait.

    After a server has moved: --from OLD --to NEW. What the new one does not know, it refuses, and that goes on to wait.
    With --to alone, all that waits is sent there.
    """
    from rheostat.sdk.address import full_url
    from rheostat.sdk.client import Client
    from rheostat.sdk.outbox import deliver_spool
    from rheostat.sdk.spool import spool_directory, spool_files

    directory = spool_directory()
    has_moved = moved_from is not None or moved_to is not None
    with Client(moved_to or server) as client:
        waiting = {left.url for left in spool_files(directory)}
        urls = {client.base_url} if not has_moved else waiting if moved_from is None else {full_url(moved_from)}
        before = sum(len(left.requests) for left in spool_files(directory) if left.url in urls)
        after = sum(deliver_spool(client, directory, url) for url in sorted(urls))
        typer.echo(f"sent {before - after} of {counted(before, 'report')} to {client.base_url}")
        for url in sorted({left.url for left in spool_files(directory)} - urls):
            typer.echo(f"more reports wait for another server: rheostat spool send --server {url}")
    raise typer.Exit(1 if after else 0)
