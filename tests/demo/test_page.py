import os
import subprocess
import sys
import webbrowser
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from rheostat.demo.page import command_line, serve_page
from rheostat.demo.processes import DemoServer


def interrupt() -> None:
    raise KeyboardInterrupt


SERVER = DemoServer("http://127.0.0.1:1", "sqlite:////some where/demo.db", interrupt)


def printed(*, open_page: bool, keep: bool) -> list[str]:
    """Return the lines that are printed on a narrow console."""
    lines = StringIO()
    serve_page(Console(file=lines, width=40), SERVER, open_page=open_page, keep=keep)
    return lines.getvalue().splitlines()


@pytest.mark.parametrize("outcome", [False, OSError("no such program")], ids=["refused", "failed"])
def test_where_no_browser_opens_the_address_is_all_there_is(
    outcome: bool | OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_browser(_: str) -> bool:
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    monkeypatch.setattr(webbrowser, "open", no_browser)
    *_, address, hint = printed(open_page=True, keep=False)
    assert address == "The page of the job, until Ctrl-C: http://127.0.0.1:1/jobs/demo"
    assert "no browser to open here" in hint


def test_the_command_that_serves_again_is_one_line_that_a_shell_takes() -> None:
    *_, kept, _ = printed(open_page=False, keep=True)
    assert kept.endswith(" serve --database-url 'sqlite:////some where/demo.db'")


@pytest.mark.parametrize("is_on_the_path", [True, False])
def test_the_command_works_as_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_on_the_path: bool
) -> None:
    environment = tmp_path / "my env"
    environment.mkdir()
    script = environment / "rheostat"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m rheostat "$@"\n')
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", os.fspath(environment / "python"))
    monkeypatch.setenv("PATH", f"{environment if is_on_the_path else tmp_path}:/usr/bin:/bin")
    typed = command_line()
    assert typed == ("rheostat" if is_on_the_path else "'my env/rheostat'")
    shown = subprocess.run(f"{typed} demo --help", shell=True, capture_output=True, text=True, check=True)
    assert "--open" in shown.stdout


def test_without_a_script_the_command_is_a_module_of_the_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", os.fspath(tmp_path / "python3"))
    assert command_line() == f"{tmp_path / 'python3'} -m rheostat"
