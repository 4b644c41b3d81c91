"""The Makefile tells what it offers, and what a machine lacks that cannot run it."""

import os
import re
import subprocess
import sys
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


def install(directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Install the extra demo as the Makefile does, from a directory."""
    return subprocess.run(
        [sys.executable, ROOT / ".ci" / "install", "my-venv", "demo"],
        cwd=directory,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


PIP_THAT_WAITS = """
import sys, time
from pathlib import Path
print("Collecting numpy>=1.26 (from rheostat)", flush=True)
print("  Downloading numpy-2.3.4-cp311-cp311-linux_x86_64.whl (16.9 MB)", flush=True)
time.sleep(6)
print(" ".join(sys.argv[1:]), file=sys.stderr)
sys.exit(int(Path("exit-code").read_text()))
"""


@pytest.mark.parametrize("exit_code", [0, 1])
def test_installing_shows_its_progress_and_what_went_wrong(tmp_path: Path, exit_code: int) -> None:
    (tmp_path / "pip.py").write_text(PIP_THAT_WAITS)
    (tmp_path / "exit-code").write_text(f"{exit_code}")
    result = install(tmp_path)
    assert result.returncode == exit_code
    assert re.search(r"^ +\d+ s, 1 packages: downloading numpy \(16.9 MB\)$", result.stdout, re.MULTILINE)
    if exit_code:
        assert "--editable .[demo]" in result.stderr
        assert "into my-venv failed; pip says why above" in result.stderr
    else:
        assert re.search(r"^Installed in \d+ s\.$", result.stdout, re.MULTILINE)
        assert result.stderr == ""


def test_without_an_index_it_says_where_packages_come_from() -> None:
    result = install(ROOT, PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull, PIP_FIND_LINKS="")
    assert result.returncode != 0
    assert "hatchling" in result.stderr
    assert "PIP_INDEX_URL or PIP_FIND_LINKS" in result.stderr
