"""Every command that a page names exists, with the options that it is given."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from rheostat import cli
from tests.docs.pages import ROOT, markdown_files, without_blocks

_BLOCK = re.compile(r"```(?:sh|bash|console|dockerfile)\n(.*?)```", re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_RHEOSTAT = re.compile(r"(?:^|[;&|(]\s*|\bRUN\s+|^sudo\s+)(?:[\w./]*/)?rheostat\s+(?=[a-z-])(.*)", re.MULTILINE)
_MAKE = re.compile(r"(?:^|[;&|(]\s*)make\s+(?:[A-Z]+=\S+\s+)*([a-z][a-z-]*)(?=\s|$)", re.MULTILINE)
PAGES = markdown_files()


def scripts(text: str) -> list[str]:
    """Return a page's blocks of commands, and its spans of code."""
    return [block.replace("\\\n", " ") for block in _BLOCK.findall(text)] + _SPAN.findall(without_blocks(text))


def words_of(command: str) -> list[str]:
    """Return the words of a command up to the next one, or to the command that it is to run."""
    try:
        words = shlex.split(re.sub(r"\$\([^)]*\)|[<>]\s*\S+|\)", "x", command), comments=True)
    except ValueError:  # it began within quotes
        words = command.partition(")")[0].split()
    return words[: next((place for place, word in enumerate(words) if word in {"--", "&&", "|", ";", "..."}), None)]


def problem_of(words: list[str]) -> str | None:
    """Return what is wrong with the words after `rheostat`, if anything."""
    found: Any = typer.main.get_command(cli.app)
    while hasattr(found, "commands") and words and not words[0].startswith("-"):
        if words[0] not in found.commands:
            return f"{found.name} has no command {words[0]}"
        found, words = found.commands[words[0]], words[1:]
    known = {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    given = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
    return f"{found.name} has no option {', '.join(sorted(given - known))}" if given - known else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_exist_with_their_options(page: Path) -> None:
    commands = [command for script in scripts(page.read_text()) for command in _RHEOSTAT.findall(script)]
    problems = {command: problem_of(words_of(command)) for command in commands}
    assert {command: problem for command, problem in problems.items() if problem} == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {target for script in scripts(page.read_text()) for target in _MAKE.findall(script)} <= targets


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("jobs burn", "jobs has no command burn"),
        ("serve --prot 1", "serve has no option --prot"),
        ("run --job j -- python train.py --any 1", None),
        ("agent", None),
        ("db backup 'a file' # --comment", None),
    ],
)
def test_a_command_that_is_not_there_is_found(command: str, problem: str | None) -> None:
    assert problem_of(words_of(command)) == problem


def test_commands_are_found_where_they_stand() -> None:
    page = "`rheostat jobs list` and\n```sh\nx=$(rheostat token generate)\nmake docs && .venv/bin/rheostat serve\n```\n"
    assert [command.split()[0] for script in scripts(page) for command in _RHEOSTAT.findall(script)] == [
        "token",
        "serve",
        "jobs",
    ]
    assert [target for script in scripts(page) for target in _MAKE.findall(script)] == ["docs"]
