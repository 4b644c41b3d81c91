"""The commands `rheostat spool`: what waits on this machine for a server. They import lazily."""

from typing import Annotated

import typer

from rheostat.cli.words import counted, say_if_none

spool = typer.Typer(
    help="List, send and discard the reports that wait on this machine for a server.", no_args_is_help=True
)

_TIMEOUT_SECONDS = 5.0

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
    from rheostat.sdk.spool import spool_directory, spool_use

    directory = spool_directory()
    has_moved = moved_from is not None or moved_to is not None
    with Client(moved_to or server) as client:
        here, waiting = client.base_url, spool_use(directory).waiting
        urls = {here} if not has_moved else set(waiting) if moved_from is None else {full_url(moved_from)}
        before = sum(waiting.get(url, 0) for url in urls)
        after = sum(deliver_spool(client, directory, url, says_why=True) for url in sorted(urls))
    typer.echo(f"sent {before - after} of {counted(before, 'report')} to {here}")
    answers = _answers(here)
    for url, count in sorted(spool_use(directory).waiting.items()):
        if url not in urls or (url == here and not answers):
            typer.echo(_way_out(url, count, here if answers else "ADDRESS"))
    raise typer.Exit(1 if after else 0)


@spool.command("discard")
def discard_spool(
    server: Annotated[str, typer.Option(help="The address that they wait for, as `rheostat spool list` shows it.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Throw away the reports that wait for a server, and list the files that are deleted."""
    from rheostat.sdk.spool import discard, spool_directory, spool_files

    url, directory = server.rstrip("/"), spool_directory()
    files = [left for left in spool_files(directory) if left.url == url]
    say_if_none(len(files), f"No reports wait for {url} in {directory}.")
    reports = counted(sum(len(left.requests) for left in files), "report")
    if files and not yes:
        typer.confirm(f"Throw away {reports} for {url}? No server learns from them then.", abort=True)
    for left in files:
        if discard(left):
            typer.echo(f"deleted {left.path}\t{counted(len(left.requests), 'report')}\t{url}")
        else:
            typer.echo(f"kept {left.path}: a run that is still going writes it", err=True)


def _answers(url: str) -> bool:
    """Return whether a server answers there, by one request that changes nothing."""
    from rheostat.errors import RheostatError
    from rheostat.sdk.server import ServerClient

    try:
        with ServerClient(url, timeout_seconds=_TIMEOUT_SECONDS, retry_for_seconds=0.0) as client:
            return client.look("/healthz")[1] is None
    except RheostatError:
        return False


def _way_out(url: str, count: int, here: str) -> str:
    """Return what to do about reports that wait for an address other than the one just sent to."""
    wait = f"{counted(count, 'report')} {'waits' if count == 1 else 'wait'} for {url}"
    if _answers(url):
        return f"{wait}. Send: rheostat spool send --server {url}"
    return (
        f"{wait}, where no server answers. If that is a wrong or old address of "
        f"{'your server' if here == 'ADDRESS' else 'this server'}:\n"
        f"  rheostat spool send --from {url} --to {here}\n"
        f"To throw away what waits: rheostat spool discard --server {url}"
    )
