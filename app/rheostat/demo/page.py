"""The page of the demo's job: served until Ctrl-C, and opened in a browser where that is wanted."""

import shlex
import webbrowser
from contextlib import suppress

from rich.console import Console

from rheostat.demo.processes import DemoServer
from rheostat.demo.recurrence import JOB_ID
from rheostat.invocation import command_line

_DIFFERENCE = """\
The page compares with what the job's own runs of the default took, one at least, and gives the 95 % interval. The table
above compares with a run of the default beside every recurrence: where the two differ, the table is what came."""


def serve_page(console: Console, server: DemoServer, *, open_page: bool, keep: bool) -> None:
    """Show where the job's page is, until Ctrl-C or a termination signal.

    Args:
        console: Where to print it.
        server: The demo's server.
        open_page: Open the page in a browser.
        keep: The database is kept; say how to serve it again.

    Raises:
        RheostatError: The server has ended by itself.
    """
    page = f"{server.url}/jobs/{JOB_ID}"
    again = f"{command_line()} serve --database-url {shlex.quote(server.database_url)}"
    kept = f"Its database is kept. To serve it again: {again}\n" if keep else ""
    # A termination signal is the proper end of a server: it becomes SystemExit in show().
    with suppress(KeyboardInterrupt, SystemExit):
        _print(console, f"\n{_DIFFERENCE}\n{kept}The page of the job, until Ctrl-C: {page}")
        if open_page and not _opened(page):
            _print(console, "There is no browser to open here: go to that address with one.")
        server.wait()


def _opened(page: str) -> bool:
    try:
        return webbrowser.open(page)
    except OSError:
        return False


def _print(console: Console, text: str) -> None:
    """Print lines that a terminal may wrap, but which can be copied as one."""
    console.print(text, soft_wrap=True, markup=False)
