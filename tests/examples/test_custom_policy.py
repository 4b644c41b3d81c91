"""The package with a policy: its own test passes, and once installed its policy decides for a job."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.examples.runs import EXAMPLES, run_example
from tests.serving import SETTINGS, V100, serving

PACKAGE = EXAMPLES / "custom_policy"


@pytest.fixture
def installed(tmp_path: Path) -> str:
    """Install the package as a user would, but into a folder, with what this environment has."""
    source, target = tmp_path / "source", tmp_path / "target"
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--target", target)
    done = run_example(sys.executable, "-m", "pip", "install", *options, source)
    assert done.returncode == 0, done.stderr
    return str(target)


def test_a_job_is_decided_by_the_installed_policy(installed: str, tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log", PYTHONPATH=installed) as server:
        http = server.client
        http.put("/v1/jobs/nightly", json=SETTINGS | {"policy": "halving", "beta_knob": None}).raise_for_status()
        chosen = []
        for _ in range(10):
            trial = http.post("/v1/jobs/nightly/predict", json={"gpu": V100}).raise_for_status().json()
            chosen.append(trial["batch_size"])
            joules = 100.0 + abs(trial["batch_size"] - 64)
            done = {"epoch": 1, "metric": 0.95, "energy_joules": joules, "time_seconds": 1.0}
            http.post(f"/v1/trials/{trial['trial_id']}/observe", json=done).raise_for_status()
        assert chosen == [32, 8, 16, 64, 128, 64, 32, 16, 64, 32]
        assert "halving" in trial["reason"]


def test_its_own_test_passes() -> None:
    ran = run_example(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", PACKAGE, PACKAGE)
    assert ran.returncode == 0, ran.stdout
    assert "2 passed" in ran.stdout
