"""Runs an example as a user would: as it stands, in a process of its own."""

import os
import subprocess
from pathlib import Path

from tests.waiting import PATIENCE_SECONDS

EXAMPLES = Path(__file__).parents[2] / "examples"
NOWHERE = "http://127.0.0.1:9"
"""Where no server is: the port of the discard service."""


def run_example(*command: str | Path, url: str = NOWHERE, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a command among the examples, with a server's address and without a GPU, and return how it ended."""
    return subprocess.run(
        command,
        cwd=EXAMPLES,
        env={**os.environ, "RHEOSTAT_URL": url, "CUDA_VISIBLE_DEVICES": "", **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
