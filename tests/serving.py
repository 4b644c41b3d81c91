"""The real server in a process of its own, on any database, for suites that speak HTTP to it."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
from typer.testing import CliRunner

from rheostat import cli
from tests.waiting import PATIENCE_SECONDS

V100 = {"model": "V100", "count": 1, "min_power_limit_watts": 100, "max_power_limit_watts": 250}
SETTINGS: dict[str, Any] = {
    "batch_sizes": [8, 16, 32, 64, 128],
    "default_batch_size": 32,
    "target": {"metric": "accuracy", "value": 0.9, "direction": "maximize"},
    "max_epochs": 10,
    "eta_knob": 1.0,
    "seed": 1,
}

ZEUS_JOB: dict[str, Any] = {
    "job_id": "nightly",
    "job_id_prefix": "",
    "batch_sizes": [8, 16, 32, 64],
    "default_batch_size": 32,
    "max_epochs": 10,
    "max_power": 1000,
    "number_of_gpus": 4,
    "gpu_model": "V100",
}
"""A job as the client of Zeus's server registers it, but for the settings with defaults."""


class Serving:
    """`rheostat serve` over a database; it may be killed and started again.

    Settings beside the database's are given by options, or by their environment variables.
    """

    def __init__(self, database_url: str, log: Path, *options: str, **environment: str) -> None:
        self._options = ("--database-url", database_url, *options)
        self._log = log
        patient = {"RHEOSTAT_REQUEST_TIMEOUT_SECONDS": str(PATIENCE_SECONDS)}
        self._environment = os.environ | patient | environment
        self._process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client()

    def start(self) -> None:
        """Start on a free port and return once it listens."""
        command = [sys.executable, "-m", "rheostat", "serve", "--port", "0", *self._options]
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=self._environment)
        give_up_at = monotonic() + PATIENCE_SECONDS
        while (line := re.search(r"listens on (http://[\d.:]+)\n", self.log())) is None:
            assert self._process.poll() is None, self.log()
            assert monotonic() < give_up_at, self.log()
            sleep(0.02)
        self.client.close()
        self.client = httpx.Client(base_url=line[1], timeout=PATIENCE_SECONDS, trust_env=False)

    def log(self) -> str:
        return self._log.read_text()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it by SIGKILL, as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def terminate(self) -> int:
        """End it by SIGTERM and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(PATIENCE_SECONDS)

    def close(self) -> None:
        self.client.close()
        if self._process is not None and self._process.poll() is None:
            self.kill()


@contextmanager
def serving(database_url: str, log: Path, *options: str, **environment: str) -> Iterator[Serving]:
    """Serve a database for the length of a block."""
    server = Serving(database_url, log, *options, **environment)
    try:
        server.start()
        yield server
    finally:
        server.close()


def migrate(database_url: str) -> None:
    """Bring a database to the schema that the server wants, as an operator would."""
    operate(database_url, "db", "upgrade")


def make_token(database_url: str, name: str, *options: str) -> str:
    """Make a token, as an operator would."""
    return operate(database_url, "token", "create", name, *options).strip()


def operate(database_url: str, *command: str) -> str:
    """Run a command of the command line on a database, in this process, and return what it prints."""
    done = CliRunner().invoke(cli.app, [*command, "--database-url", database_url])
    assert done.exit_code == 0, (done.stderr, done.exception)
    return done.stdout
