"""The command ``rheostat demo``."""

from typing import Annotated

import typer


def demo(
    recurrences: Annotated[int, typer.Option(min=1, max=1000, help="Number of recurrences of the job.")] = 20,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed.")] = 1,
    open_page: Annotated[
        bool, typer.Option("--open", help="Then open the job's page in a browser, and serve it until Ctrl-C.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Then serve the job's page until Ctrl-C, and keep the database.")
    ] = False,
) -> None:
    """Retrain a real model through a real server, on a simulated GPU. Takes under a minute, needs no GPU."""
    from rheostat.demo.show import show  # noqa: PLC0415

    show(recurrences, seed, open_page=open_page, keep=keep)
