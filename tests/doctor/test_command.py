"""The whole command, in this process and in one of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Event

import pytest
from typer.testing import CliRunner, Result

from rheostat import cli
from rheostat.agent.nvml import NvmlDriver
from rheostat.doctor import examination
from rheostat.doctor.examination import CHECKS, Options, examine
from tests.agent.bench import Served
from tests.doctor.machines import OURS, answering
from tests.waiting import PATIENCE_SECONDS


@pytest.fixture
def environment(served: Served, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node as it should be."""
    monkeypatch.setattr(NvmlDriver, "may_set_limits", lambda _: True)
    monkeypatch.setenv("RHEOSTAT_AGENT_DIR", str(directory))
    monkeypatch.setenv("RHEOSTAT_DATABASE_URL", f"sqlite:///{directory / 'rheostat.db'}")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["doctor", *arguments])


@pytest.mark.usefixtures("environment")
def test_it_exits_with_0_without_a_problem_and_with_1_with_one(directory: Path) -> None:
    with answering(OURS) as url:
        well = run("--server", url, "--format", "json")
        names = [check["name"] for check in json.loads(well.output)["checks"]]
        assert (well.exit_code, names) == (0, [check.__name__ for _, check in CHECKS]), well.output
        directory.joinpath("agent.sock").unlink()
        ill = run("--server", url)
    assert ill.exit_code == 1
    text = " ".join(ill.output.split())
    assert f"problem agent no agent runs here: there is no socket {directory}/agent.sock" in text
    assert "1 problem. First (agent): " in ill.output.rpartition("\n\n")[2]
    assert run("--format", "xml").exit_code == 2


@pytest.mark.usefixtures("environment")
def test_what_hangs_is_said_to_hang_and_the_rest_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ValueError("an answer of another kind")

    released = Event()
    monkeypatch.setattr(examination, "look_at_spool", released.wait)
    monkeypatch.setattr(examination, "look_at_gpus", fail)
    with answering(OURS) as url:
        findings = {one.name: one for one in examine(Options(server_url=url), patience_seconds=2.0)}
    released.set()
    assert findings["spool"].found == "the check did not end in time"
    assert findings["driver"].found == "the check failed: ValueError: an answer of another kind"
    assert findings["versions"].state == "ok"


def test_a_laptop_has_no_problem(tmp_path: Path) -> None:
    with answering({}) as gone:
        pass
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FAKE_NVML")}
    # A server of this machine's own may listen on the usual port.
    environment |= {"RHEOSTAT_PORT": gone.rpartition(":")[2]}
    environment |= {"RHEOSTAT_DATABASE_URL": f"sqlite:///{tmp_path / 'rheostat.db'}", "HOME": str(tmp_path)}
    script = (
        "from rheostat.doctor.facts import gpus, remote; from pathlib import Path; import rheostat.cli\n"
        f"gpus._PCI_DEVICES = gpus._KERNEL_MODULE = Path({str(tmp_path / 'none')!r}); remote.DEFAULT_URL = {gone!r}\n"
        "rheostat.cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "doctor"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "skipped  driver      no NVIDIA GPU here; batch sizes are advised without one" in lines
    last = " ".join(lines[lines.index("") + 1 :])
    assert "First (server): " in last
    assert last.endswith("rheostat serve")
    assert list(tmp_path.iterdir()) == []
