"""What the README says is what happens: each of its commands is run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rheostat.demo.processes import demo_agent
from rheostat.sdk import node_agent
from tests.serving import serving
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def _block(language: str, start: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (block,) = [block for block in blocks if start in block]
    return str(block)


def test_the_curl_commands_register_a_job_and_start_a_run(tmp_path: Path) -> None:
    script = _block("sh", "curl")
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log") as server:
        here = script.replace("http://127.0.0.1:8420", str(server.client.base_url).rstrip("/"))
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", here],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert '"trial_id":' in run.stdout
        assert '"batch_size":64' in run.stdout


PARTS = """
def build(batch_size): return None, [1, 2, 3]
def train_one_step(model, batch): pass
def evaluate(model): return 0.97
"""
TRAINER = PARTS + _block("python", "JobSettings(") + _block("python", "evaluate(model)")


def test_the_trainer_loop_runs_as_it_stands(tmp_path: Path) -> None:
    program = TRAINER + "\nprint(trial.trial_id, trial.batch_size)"
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log") as server, demo_agent() as agent:
        environment = {
            **os.environ,
            "RHEOSTAT_URL": str(server.client.base_url),
            "RHEOSTAT_AGENT_DIR": str(agent.socket.parent),
        }
        run = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        trial_id, batch_size = run.stdout.split()
        assert batch_size == "64"
        trial = server.client.get(f"/v1/trials/{trial_id}").json()
        assert trial["state"] == "converged"
        assert trial["gpu"]["model"] == "Simulated V100"
        assert trial["energy_joules"] > 0


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a newcomer: no agent, no tool that knows a GPU, and nothing set."""
    if node_agent.NodeAgent().has_socket:
        pytest.skip("an agent runs on this machine")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python").symlink_to(sys.executable)
    return {"HOME": str(tmp_path), "PATH": str(tools), "CUDA_VISIBLE_DEVICES": ""}


def test_the_trainer_loop_reaches_the_server_without_an_agent_and_without_a_gpu(
    tmp_path: Path, bare: dict[str, str]
) -> None:
    program = TRAINER + "\nprint(trial.trial_id, trial.reason)"
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log") as server:
        bare["RHEOSTAT_URL"] = str(server.client.base_url)
        for number in (1, 2):
            run = subprocess.run(
                [sys.executable, "-c", program],
                env=bare,
                capture_output=True,
                text=True,
                timeout=PATIENCE_SECONDS,
                check=False,
            )
            assert run.returncode == 0, run.stderr
            trial_id, _ = run.stdout.split(maxsplit=1)
            trial = server.client.get(f"/v1/trials/{trial_id}").json()
            assert (trial["number"], trial["state"], trial["gpu"]["model"]) == (number, "converged", "unknown")
            # One line says what is missing; and another that the stub of an evaluation meets the target at once.
            line, *others = run.stderr.splitlines()
            assert ["met its target" in other for other in others] == [True] * (number == 1)
            assert line == "No GPU is known here: only batch sizes are chosen."
        (placement,) = server.client.get("/v1/jobs/nightly-finetune").json()["placements"]
        assert (placement["gpu"]["model"], placement["gpu"]["max_power_limit_watts"]) == ("unknown", None)


@pytest.mark.parametrize(
    ("job_id", "starts", "output"),
    [("nightly", "rheostat run --job nightly", "val_acc=0.97"), ("finetune", "rheostat run --power-only", "step 1")],
)
def test_rheostat_run_reaches_the_server_without_an_agent_and_without_a_gpu(
    tmp_path: Path, bare: dict[str, str], job_id: str, starts: str, output: str
) -> None:
    (tmp_path / "train.py").write_text(f"print({output!r})")
    command = shlex.split(_block("sh", starts).replace("\\\n", " "))
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log") as server:
        bare["RHEOSTAT_URL"] = str(server.client.base_url)
        run = subprocess.run(
            [sys.executable, "-m", *command],
            env=bare,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        (trial,) = server.client.get(f"/v1/jobs/{job_id}/trials").json()["trials"]
        assert (trial["state"], trial["gpu"]["model"]) == ("converged", "unknown")
        assert run.stderr.count("No GPU is known here: ") == 1
        assert f"batch size {trial['batch_size']}: {trial['reason']}" in run.stderr


@pytest.mark.parametrize("command", re.findall(r"(?:^|`)rheostat (\w+)", README, re.MULTILINE))
def test_the_commands_exist(command: str) -> None:
    run = [sys.executable, "-m", "rheostat", command, "--help"]
    subprocess.run(run, check=True, capture_output=True, timeout=PATIENCE_SECONDS)


@pytest.mark.parametrize("target", re.findall(r"^make ([\w-]+)", README, re.MULTILINE))
def test_the_targets_exist(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True, timeout=PATIENCE_SECONDS)
