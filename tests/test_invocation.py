"""The command line, as it has to be typed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rheostat.invocation import command_line, root_command_line


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
    shown = subprocess.run(f"{typed} doctor --help", shell=True, capture_output=True, text=True, check=True)
    assert "--format" in shown.stdout


def test_without_a_script_the_command_is_a_module_of_the_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", os.fspath(tmp_path / "python3"))
    assert command_line() == f"{tmp_path / 'python3'} -m rheostat"


@pytest.mark.parametrize(("user", "typed"), [(0, "my env/rheostat"), (1000, "sudo {}/my env/rheostat")])
def test_root_has_another_search_path(user: int, typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "my env" / "rheostat"
    script.parent.mkdir()
    script.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", os.fspath(script.with_name("python")))
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert root_command_line().replace("'", "") == typed.format(tmp_path)
