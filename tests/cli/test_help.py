"""The help teaches: examples that parse, commands by use, and completion that the shell takes."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import rheostat
from rheostat.cli import app
from rheostat.cli.examples import EXAMPLES, EXIT_CODES
from rheostat.cli.help import PANELS
from tests.waiting import PATIENCE_SECONDS

ROOT: Any = typer.main.get_command(app)
PROGRAM = Path(sys.executable).parent / "rheostat"


def commands(command: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command and group, by the words that call it."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{path} {name}".strip())


COMMANDS = dict(commands(ROOT))
LINES = sorted({example.command for examples in EXAMPLES.values() for example in examples})


def shown(path: str) -> str:
    result = CliRunner().invoke(app, [*path.split(), "--help"], prog_name="rheostat", env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_version_is_the_packages() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"rheostat {rheostat.__version__}\n")


def test_every_command_has_examples_of_itself() -> None:
    assert set(EXAMPLES) == set(COMMANDS)
    assert set(EXIT_CODES) <= set(COMMANDS)
    for path, examples in EXAMPLES.items():
        assert examples
        for example in examples:
            assert example.command.startswith(f"rheostat {path}".strip()), example


@pytest.mark.parametrize("line", LINES)
def test_an_example_is_one_that_the_command_line_accepts(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs.csv").touch()
    command, (program, *arguments) = ROOT, shlex.split(line.replace("\\\n", "").partition(" > ")[0])
    assert program == "rheostat"
    context = None
    with ExitStack() as contexts:
        while True:
            context = contexts.enter_context(command.make_context(program, list(arguments), parent=context))
            rest = [*context._protected_args, *context.args]
            if not rest:
                return
            program, command, arguments = command.resolve_command(context, rest)


@pytest.mark.parametrize("path", COMMANDS)
def test_the_help_shows_its_examples_as_they_are_typed_on_80_columns(path: str) -> None:
    text = shown(path)
    assert max(len(line) for line in text.splitlines()) <= 80
    lines = {line.strip() for line in text.splitlines()}
    for example in EXAMPLES[path]:
        assert f"# {example.does}" in lines
        assert {line.strip() for line in example.command.splitlines()} <= lines
    assert ("Exit codes:" in text) == (path in EXIT_CODES)


def test_the_commands_are_listed_by_use() -> None:
    text = shown("")
    listed = [name for names in PANELS.values() for name in names if name in COMMANDS]
    assert set(listed) == {path for path in COMMANDS if path and " " not in path}
    rows = [line.split()[1] for line in text.splitlines() if line.startswith("│ ") and line[2] not in " -"]
    assert rows == listed
    headings = [line.split()[1] for line in text.splitlines() if line.startswith("╭")]
    assert headings == ["Options", *PANELS]


def completed(shell: str, script: str, tmp_path: Path) -> list[str]:
    """Return what a shell offers, where its completion has been set up as `--install-completion` does."""
    environment = {**os.environ, "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    shell_path = shutil.which(shell)
    if shell_path is None:
        pytest.skip(f"{shell} is not installed")
    setup = subprocess.run(
        [PROGRAM],
        env={**environment, "_RHEOSTAT_COMPLETE": f"source_{shell}"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    (tmp_path / "completion").write_text(setup.stdout)
    result = subprocess.run(
        [shell_path, *(["-f"] if shell == "zsh" else ["--norc"]), "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    return result.stdout.split()


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    complete = ". ./completion; COMP_WORDS=({}); COMP_CWORD={}; _rheostat_completion rheostat; echo ${{COMPREPLY[@]}}"
    assert completed("bash", complete.format("rheostat sa", 1), tmp_path) == ["savings"]
    assert completed("bash", complete.format("rheostat run --batch", 2), tmp_path) == ["--batch-sizes"]


def test_zsh_completes_commands(tmp_path: Path) -> None:
    # The completion hands what it offers to _arguments; this one prints it.
    complete = """
compdef() { : }
_arguments() { print -r -- "$1" }
words=(rheostat sa); CURRENT=2
source ./completion
_rheostat_completion
"""
    assert "savings" in " ".join(completed("zsh", complete, tmp_path))
