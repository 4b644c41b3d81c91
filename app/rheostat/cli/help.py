"""What the help teaches beside the options: the order of commands, examples, exit codes and the version."""

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperGroup

import rheostat
from rheostat.cli.examples import EXAMPLES, EXIT_CODES

if TYPE_CHECKING:
    from typer.models import CommandInfo, TyperInfo

PANELS: Mapping[str, Sequence[str]] = {
    "Try": ("demo", "measure", "replay"),
    "Train": ("run", "spool"),
    "Serve": ("serve",),
    "Look": ("jobs", "savings", "export"),
    "Node": ("agent", "doctor"),
    "Admin": ("token", "db", "audit"),
}
"""The commands by what they are for, in the order in which a newcomer needs them."""

_ORDER = tuple(name for names in PANELS.values() for name in names)
_PANEL_OF = {name: panel for panel, names in PANELS.items() for name in names}


class CommandsByUse(TyperGroup):
    """A group whose help lists commands in the order of `PANELS`; typer lists groups after all commands."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]  # typer has its own click
        """Return the names of all commands; one that is in no panel comes last."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


def show_version(is_asked: bool) -> None:
    """Print the version and exit."""
    if is_asked:
        typer.echo(f"rheostat {rheostat.__version__}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and exit.")
]


def teach(app: typer.Typer, path: str = "") -> None:
    """Give every command of an application its panel, its examples and its exit codes.

    Args:
        app: The application, with all its commands and groups.
        path: The words that call it, without the program's name.
    """
    for command in app.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "")
        _teach_one(command, f"{path} {name}".strip(), inspect.getdoc(command.callback) or "")
    for group in app.registered_groups:
        name = group.name or ""
        if group.typer_instance is not None:
            _teach_one(group, f"{path} {name}".strip(), str(group.typer_instance.info.help or ""))
            teach(group.typer_instance, f"{path} {name}".strip())


def help_text(path: str, description: str) -> str:
    """Return the help of a command: its description, examples and exit codes.

    Paragraphs are joined to lines here, as typer keeps the line breaks of all but the first.

    Args:
        path: The words that call the command, without the program's name.
        description: What it does; paragraphs with an empty line between them.
    """
    parts = [" ".join(paragraph.split()) for paragraph in description.split("\n\n")]
    if examples := EXAMPLES.get(path):
        parts.append("Examples:")
        parts += [f"# {example.does}\n{example.command}" for example in examples]
    if codes := EXIT_CODES.get(path):
        parts.append(f"Exit codes: {codes}")
    return "\n\n".join(parts)


def _teach_one(info: "CommandInfo | TyperInfo", path: str, description: str) -> None:
    info.help = help_text(path, description)
    if path in _PANEL_OF:
        info.rich_help_panel = _PANEL_OF[path]
