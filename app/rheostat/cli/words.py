"""How the commands word what they list."""

import typer


def counted(number: int, noun: str) -> str:
    """Return a number of things, as ``1 report`` or ``2 reports``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def say_if_none(number: int, sentence: str) -> None:
    """Say that a list is empty, on standard error: a script that reads the list finds nothing in it."""
    if number == 0:
        typer.echo(sentence, err=True)
