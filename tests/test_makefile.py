"""The Makefile tells what it offers, and what a machine lacks that cannot run it."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parent.parent


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "VENV")}
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def python_that(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_make_alone_lists_every_target_with_a_line() -> None:
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    listed = re.findall(r"^  make ([\w-]+) +\S.*$", make().stdout, re.MULTILINE)
    assert listed == targets[1].split()


@pytest.mark.parametrize("target", ["demo", "test"])
@pytest.mark.parametrize(
    ("script", "lack", "remedy"),
    [
        ('[ "$1" = --version ] && echo Python 3.9.2 && exit; exit 1', "3.11 or newer; .* is: Python 3.9.2.", "PYTHON="),
        ("exit 127", "3.11 or newer; .* is: missing.", "PYTHON="),
        ('case "$2" in *venv*) exit 1;; esac', "modules venv and ensurepip", "apt install python3-venv"),
    ],
)
def test_an_unfit_python_is_refused_with_what_to_do(
    tmp_path: Path, target: str, script: str, lack: str, remedy: str
) -> None:
    python = python_that(tmp_path / "python3", script)
    result = make(target, f"PYTHON={python}", f"VENV={tmp_path / 'venv'}")
    assert result.returncode != 0
    assert re.search(lack, result.stderr)
    assert remedy in result.stderr
    assert f"make {target} PYTHON=" in result.stderr
    assert not (tmp_path / "venv").exists()
