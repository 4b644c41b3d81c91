"""The real server in a process of its own, which a test may kill and start again."""

import os
import re
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Self

from tests.waiting import PATIENCE_SECONDS


class ServerProcess:
    """``rheostat serve`` on a port of its own over a database in a directory."""

    def __init__(self, directory: Path, *, lease_seconds: float = 900.0) -> None:
        self._directory = directory
        self._lease_seconds = lease_seconds
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start, on the same port as the last time, and return once it listens."""
        output = self._directory / "stdout"
        with output.open("wb") as stdout, (self._directory / "stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rheostat", "serve", "--port", str(self._port)],
                stdout=stdout,
                stderr=stderr,
                env={
                    **os.environ,
                    "RHEOSTAT_DATABASE_URL": f"sqlite:///{self._directory / 'rheostat.db'}",
                    "RHEOSTAT_LEASE_SECONDS": str(self._lease_seconds),
                    "RHEOSTAT_REQUEST_TIMEOUT_SECONDS": str(PATIENCE_SECONDS),
                },
            )
        give_up_at = monotonic() + PATIENCE_SECONDS
        while (line := re.match(r"Rheostat listens on http://127\.0\.0\.1:(\d+)\n", output.read_text())) is None:
            assert self._process.poll() is None, (self._directory / "stderr").read_text()
            assert monotonic() < give_up_at
            sleep(0.02)
        self._port = int(line[1])

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()
