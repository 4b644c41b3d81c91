"""The command `rheostat doctor`. It imports what it needs when it runs, so that the command line starts at once."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from rheostat.cli.admin import DatabaseUrl
from rheostat.cli.spool import ServerUrl


class Format(StrEnum):
    """How findings are shown."""

    TEXT = "text"
    JSON = "json"


def doctor(
    server: ServerUrl = None,
    runtime_dir: Annotated[
        Path | None,
        typer.Option(
            help="Directory of the agent's socket. (Default: RHEOSTAT_AGENT_DIR, else /run/rheostat.)",
            show_default=False,
        ),
    ] = None,
    database_url: DatabaseUrl = None,
    output: Annotated[Format, typer.Option("--format", help="How to show what is found.")] = Format.TEXT,
) -> None:
    """Check this machine: what is wrong, why it matters, and what to do; changes nothing.

    Looks at GPUs, driver, agent, server, token, clock, spool and database, as far as they are here; what is not is
    skipped, with the reason.
    """
    import logging

    from rheostat.doctor.examination import Options, examine
    from rheostat.doctor.text import as_json, as_text

    logging.getLogger("rheostat").addHandler(logging.NullHandler())  # what is logged is found, too
    findings = examine(Options(runtime_dir, server, database_url))
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    typer.echo(as_json(findings) if output is Format.JSON else as_text(findings, coloured=coloured))
    raise typer.Exit(1 if any(finding.state == "problem" for finding in findings) else 0)
