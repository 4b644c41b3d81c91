"""The check on the fake GPU of the tests, as slow and irregular as a real one: shows that the check itself works."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.nvml.fake import FakeNvml, build


def simulate(arguments: Sequence[str]) -> int:
    """Run `python -m benchmarks.gpu` with arguments where it finds the fake GPU; return its exit code."""
    with TemporaryDirectory(prefix="rheostat-fake-") as directory:
        fake = FakeNvml(build(Path(directory)), Path(directory) / "gpus", gpus=1)
        try:
            fake.be_real()
            # Not a multiple of the 20 ms between power samples, which would then all see the same part of it.
            fake.gpus[0].wave(0.05, 0.9, period_ms=197, high_ms=129, ramp_ms=10)
            command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
            return subprocess.run(command, env=os.environ | fake.environment(), check=False).returncode  # noqa: S603
        finally:
            fake.close()
