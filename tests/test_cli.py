"""The commands that look into a database without a server, and at what waits for one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rheostat import JobSettings
from rheostat.sdk.server import register_job_request
from rheostat.sdk.spool import RequestQueue
from tests.serving import SETTINGS, V100, operate, serving


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rheostat", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database with one job that has run once."""
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    with serving(url, tmp_path / "log") as server:
        server.client.put("/v1/jobs/nightly", json=SETTINGS).raise_for_status()
        run = {"batch_size": 32, "gpu": V100, "energy_joules": 100.0, "time_seconds": 1.0, "converged": True}
        server.client.post("/v1/jobs/nightly/observe", json=run).raise_for_status()
    return url


def test_jobs_are_listed_shown_and_rebuilt(url: str) -> None:
    assert run_command("jobs", "list", "--database-url", url).stdout == "nightly\t0 trials\tpolicy rheostat\n"
    shown = json.loads(run_command("jobs", "show", "nightly", "--database-url", url).stdout)
    assert shown["savings"]["placements"][0]["energy_joules"]["actual"] == 100.0
    assert "rebuilt from 1 observations" in run_command("jobs", "rebuild", "nightly", "--database-url", url).stdout


def test_settings_are_changed_and_the_job_deleted(url: str) -> None:
    changes = (
        "max_epochs=99",
        "target=accuracy>=0.97",
        "batch_sizes=8,16,32,64,128,512",
        "beta_knob=null",
        "policy=zeus",
    )
    changed = json.loads(operate(url, "jobs", "set", "nightly", *changes).partition(": ")[2])
    assert (changed["max_epochs"], changed["target"]["value"], changed["policy"]) == (99, 0.97, "zeus")
    assert (changed["batch_sizes"], changed["beta_knob"]) == ([8, 16, 32, 64, 128, 512], None)
    for wrong, why in (
        ("max_epochs", "setting=value"),
        ("seed=1", "can be changed"),
        ("max_epochs=soon", "max_epochs"),
    ):
        refused = run_command("jobs", "set", "nightly", wrong, "--database-url", url)
        assert (refused.returncode, why in refused.stderr, "Traceback" in refused.stderr) == (1, True, False)
    assert operate(url, "jobs", "delete", "nightly") == "nightly: deleted\n"
    assert operate(url, "jobs", "list") == ""


def test_a_job_is_pinned_paused_and_forced(url: str) -> None:
    def control() -> object:
        return json.loads(operate(url, "jobs", "show", "nightly"))["job"]["control"]

    pinned = operate(url, "jobs", "pin", "nightly", "64", "--power-limit", "200", "--reason", "as in the paper")
    assert "rheostat jobs unpin nightly" in pinned
    operate(url, "jobs", "pause", "nightly")
    operate(url, "jobs", "force", "nightly", "32")
    known = control()
    assert isinstance(known, dict)
    assert (known["pin"]["power_limit_watts"], known["force"]["batch_size"]) == (200, 32)
    operate(url, "jobs", "unpin", "nightly")
    operate(url, "jobs", "resume", "nightly")
    operate(url, "jobs", "force", "nightly", "--cancel")
    assert control() is None
    assert "Batch size 7 is not among" in run_command("jobs", "pin", "nightly", "7", "--database-url", url).stderr


def test_jobs_of_another_namespace_are_reached_by_its_name(url: str) -> None:
    assert operate(url, "jobs", "list", "--namespace", "vision") == ""
    with pytest.raises(AssertionError, match="no job 'nightly'"):
        operate(url, "jobs", "rebuild", "nightly", "--namespace", "vision")
    assert "nightly" in operate(url, "jobs", "list", "--namespace", "default")


def test_a_job_that_is_not_there_is_an_error_in_words(url: str) -> None:
    missing = run_command("jobs", "show", "weekly", "--database-url", url)
    assert missing.returncode == 1
    assert "no job 'weekly'" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_the_schema_is_upgraded_and_its_status_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    before = run_command("db", "status", "--database-url", url)
    assert (before.returncode, "schema: empty" in before.stdout) == (1, True)
    assert run_command("db", "upgrade", "--database-url", url).stdout.startswith("schema: empty -> ")
    assert run_command("db", "status", "--database-url", url).returncode == 0


def test_what_waits_for_a_server_is_listed_and_sent(tmp_path: Path, spool: Path) -> None:
    job = JobSettings(batch_sizes=[32], default_batch_size=32, max_epochs=10)
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log") as server:
        here, away = str(server.client.base_url).rstrip("/"), "http://127.0.0.1:9"
        for url in (here, away):
            queue = RequestQueue(url, spool)
            queue.append(register_job_request("nightly", job))
            queue.close()
        listed = run_command("spool", "list").stdout.splitlines()
        assert sorted(line.split("\t", 1)[1] for line in listed) == sorted(f"1 reports\t{url}" for url in (here, away))
        sent = run_command("spool", "send", "--server", here)
        assert (sent.returncode, sent.stdout.splitlines()[0]) == (0, f"sent 1 of 1 reports to {here}")
        assert f"--server {away}" in sent.stdout
        assert server.client.get("/v1/jobs/nightly").status_code == 200
