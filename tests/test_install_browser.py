"""The browser of the tests is installed where it is missing and that is permitted, and nothing is touched elsewhere."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_SECONDS

SCRIPT = Path(__file__).parents[1] / ".ci" / "install_browser"


class Machine:
    """A machine that has bash, the programs that it is given, and notes what they are called with."""

    def __init__(self, directory: Path) -> None:
        self._programs = directory / "bin"
        self._calls = directory / "calls"
        self._programs.mkdir()
        self._calls.touch()
        (self._programs / "bash").symlink_to(shutil.which("bash") or "")

    def has(self, *names: str, prints: str = "") -> None:
        for name in names:
            program = self._programs / name
            program.write_text(f'#!/bin/sh\necho "{name} $*" >>{self._calls}\necho {prints}\n')
            program.chmod(0o755)

    def install(self) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self._programs / "bash", SCRIPT],
            env={"PATH": os.fspath(self._programs)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    @property
    def installed(self) -> list[str]:
        return [call for call in self._calls.read_text().splitlines() if call.startswith("apt-get")]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("chromium", ["chromium", "chromium-browser", "google-chrome"])
def test_a_machine_with_any_chromium_and_its_driver_is_left_alone(machine: Machine, chromium: str) -> None:
    machine.has(chromium, "chromedriver", "apt-get")
    machine.has("id", prints="0")
    assert machine.install().returncode == 0
    assert machine.installed == []


@pytest.mark.parametrize("there", ["", "chromium", "chromedriver"])
def test_what_is_missing_is_installed_by_root(machine: Machine, there: str) -> None:
    machine.has("apt-get", *there.split())
    machine.has("id", prints="0")
    assert machine.install().returncode == 0
    update, install = machine.installed
    assert update.startswith("apt-get update")
    assert {"chromium", "chromium-driver"} <= set(install.split())


@pytest.mark.parametrize(("user", "tools"), [("1000", ["apt-get"]), ("0", [])], ids=["no root", "not Debian"])
def test_who_cannot_install_is_told_what_is_needed(machine: Machine, user: str, tools: list[str]) -> None:
    machine.has(*tools)
    machine.has("id", prints=user)
    refused = machine.install()
    assert refused.returncode == 1
    assert "apt-get install chromium chromium-driver" in refused.stderr
    assert machine.installed == []
