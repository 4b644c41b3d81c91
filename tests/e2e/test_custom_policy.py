"""A policy of somebody else, from an installed package, decides for a job."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import SETTINGS, V100, serving
from tests.waiting import PATIENCE_SECONDS

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "smallest-first"
version = "1"

[project.entry-points."rheostat.policies"]
smallest = "smallest_first:Smallest"
"""

MODULE = """
from rheostat.policy.interface import BatchSizeOptimizer


class Smallest(BatchSizeOptimizer):
    name = "smallest"

    def register_job(self, job, batch_sizes):
        self.store[job] = {"smallest": min(batch_sizes), "seen": 0}

    def predict(self, job):
        if self.store[job]["seen"] == 3:
            raise RuntimeError("three are enough")
        return self.store[job]["smallest"]

    def observe(self, job, batch_size, cost, converged=None):
        self.store[job]["seen"] += 1
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a tiny package with one policy where the server finds it."""
    project, target = tmp_path / "project", tmp_path / "target"
    project.mkdir()
    (project / "pyproject.toml").write_text(PROJECT)
    (project / "smallest_first.py").write_text(MODULE)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*command, "--target", str(target), str(project)], check=True, capture_output=True, timeout=PATIENCE_SECONDS
    )
    monkeypatch.setenv("PYTHONPATH", str(target))


def test_a_policy_from_another_package_is_served(installed: None, tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log") as server:
        http = server.client
        http.put("/v1/jobs/nightly", json=SETTINGS | {"policy": "smallest"}).raise_for_status()
        for _ in range(3):
            trial = http.post("/v1/jobs/nightly/predict", json={"gpu": V100}).raise_for_status().json()
            assert trial["batch_size"] == 8
            assert "smallest" in trial["reason"]
            done = {"epoch": 1, "metric": 0.95, "energy_joules": 10.0, "time_seconds": 1.0}
            http.post(f"/v1/trials/{trial['trial_id']}/observe", json=done).raise_for_status()
        failed = http.post("/v1/jobs/nightly/predict", json={"gpu": V100})
        assert (failed.status_code, failed.json()["code"]) == (500, "policy_failed")
        assert "three are enough" in failed.json()["detail"]
        http.patch("/v1/jobs/nightly", json={"policy": "zeus"}).raise_for_status()
        assert http.post("/v1/jobs/nightly/predict", json={"gpu": V100}).json()["batch_size"] == 32
