"""The examples are whole programs, and run as they stand: on one process and on several."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rheostat import Client
from tests.frameworks.processes import rank_environments
from tests.sdk.server_process import ServerProcess
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "frameworks.md").read_text()
README = (ROOT / "README.md").read_text()


def example(job_id: str, page: str = PAGE) -> str:
    (found,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if f'"{job_id}"' in block]
    return str(found)


def run_example(path: Path, environment: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(path)], cwd=path.parent, env=environment, stderr=subprocess.PIPE, text=True
    )


def run_alone(path: Path, environment: dict[str, str]) -> str:
    """Run a program to its end and return its log."""
    ran = run_example(path, environment)
    try:
        log = ran.communicate(timeout=PATIENCE_SECONDS)[1]
    finally:
        ran.kill()
        ran.wait()
    assert ran.returncode == 0, log
    return log


@pytest.mark.parametrize("job_id", ["nightly-pytorch", "nightly-transformers", "nightly-lightning"])
def test_an_example_reaches_its_target_on_two_processes(
    server: ServerProcess, client: Client, tmp_path: Path, job_id: str
) -> None:
    path = tmp_path / "train.py"
    path.write_text(example(job_id).replace('devices="auto"', "devices=2"))
    environments = rank_environments(server.url, [{"CUDA_VISIBLE_DEVICES": ""}] * 2)
    if "lightning" in job_id:
        # Lightning starts the other process by itself.
        environments = [{**os.environ, "RHEOSTAT_URL": server.url, "CUDA_VISIBLE_DEVICES": ""}]
    ranks = [run_example(path, environment) for environment in environments]
    try:
        logs = [rank.communicate(timeout=PATIENCE_SECONDS)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    assert not any(rank.returncode for rank in ranks), "\n".join(logs)
    (trial,) = client.list_trials(job_id).trials
    assert trial.state == "converged", logs


@pytest.mark.parametrize("job_id", ["nightly-pytorch", "nightly-transformers", "nightly-lightning"])
def test_an_example_surveys_its_batch_sizes_on_one_process(
    server: ServerProcess, client: Client, tmp_path: Path, job_id: str
) -> None:
    alone = f"{job_id}-alone"
    path = tmp_path / "train.py"
    path.write_text(example(job_id).replace('devices="auto"', "devices=1").replace(job_id, alone))
    (environment,) = rank_environments(server.url, [{"CUDA_VISIBLE_DEVICES": ""}])
    log = run_alone(path, environment)
    (trial,) = client.list_trials(alone).trials
    assert trial.state == "converged", log
    (placement,) = client.savings(alone).placements
    assert placement.time_seconds.surveyed


@pytest.mark.parametrize(
    ("job_id", "starts"), [("nightly-transformers", "survey ="), ("nightly-lightning", "if __name__")]
)
def test_the_lines_of_the_readme_train_the_model_of_an_example(
    server: ServerProcess, client: Client, tmp_path: Path, job_id: str, starts: str
) -> None:
    renamed = f"{job_id}-readme"
    before, _, _ = example(job_id).partition(starts)
    path = tmp_path / "train.py"
    path.write_text(before + example(job_id, README).replace(job_id, renamed))
    (environment,) = rank_environments(server.url, [{"CUDA_VISIBLE_DEVICES": ""}])
    log = run_alone(path, environment)
    (trial,) = client.list_trials(renamed).trials
    assert trial.state == "converged", log
