"""The documentation of `rheostat run` is correct."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rheostat import Client
from rheostat.launch.settings import given_settings
from tests.sdk.server_process import ServerProcess
from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "run.md").read_text()
TRAINER = """
import os, sys, time
assert sys.argv[1:3] == ["--batch-size", os.environ["RHEOSTAT_BATCH_SIZE"]]
print("val_acc=0.97")
time.sleep(60)
"""


def block(page: str, language: str, start: str) -> str:
    (found,) = [text for text in re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL) if start in text]
    return str(found)


@pytest.mark.parametrize("page", ["README.md", "docs/run.md"])
def test_the_example_runs(page: str, server: ServerProcess, client: Client, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(TRAINER)
    job = page.replace("/", "-")
    script = block((ROOT / page).read_text(), "sh", "rheostat run --job").replace("nightly", job)
    script = script.replace("--job", "--gpu 'Test GPU:100-250' --job")
    environment = {
        **os.environ,
        "RHEOSTAT_URL": server.url,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"val_acc=0.97\n"), done.stderr
    assert client.list_trials(job).trials[0].state == "converged"


def test_the_example_file_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_text(block(PAGE, "toml", "batch_sizes"))
    assert given_settings({}, path) is not None


def test_every_option_is_on_the_page() -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "rheostat", "run", "--help"],
        env={**os.environ, "COLUMNS": "200", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    ).stdout
    options = set(re.findall(r"(--[a-z-]+) ", help_text)) - {"--help", "--quiet", "--job", "--batch-sizes", "--server"}
    assert options
    assert {option for option in options if f"`{option}" not in PAGE and f"{option} " not in PAGE} == set()
