"""Trainers of several real processes, started as `torchrun` would, and nodes of simulated GPUs for them."""

import importlib
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from rheostat.sdk.node_agent import NodeAgent
from tests.waiting import PATIENCE_SECONDS, eventually

_TRAINERS = "tests.frameworks.trainers"


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        code: Its exit code.
        said: What it says, as JSON has it; None: nothing.
        log: What it wrote to its standard error.
    """

    code: int
    said: Any
    log: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def rank_environments(url: str, environments: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return what each rank has in its environment, as from `torchrun`, and as a test adds to it."""
    common = {
        **os.environ,
        "RHEOSTAT_URL": url,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(len(environments)),
    }
    return [
        {**common, "RANK": str(rank), "LOCAL_RANK": str(rank), **environment}
        for rank, environment in enumerate(environments)
    ]


def _be_a_rank(name: str, arguments: Sequence[str], environment: Mapping[str, str], output: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    warnings.simplefilter("error")
    trainers = importlib.import_module(_TRAINERS)
    with output.with_suffix(".log").open("w") as log:
        os.dup2(log.fileno(), sys.stderr.fileno())
    trainers.main(name, arguments, output)


def run(name: str, url: str, environments: Sequence[Mapping[str, str]], *arguments: str) -> list[Ended]:
    """Run a trainer of :mod:`tests.frameworks.trainers` in so many processes and return how each ended.

    Args:
        name: Of the function.
        url: The server's.
        environments: What each rank has in its environment besides; there are as many ranks.
        arguments: Of the function.
    """
    # PyTorch takes seconds to import: that is done once, and ranks are forked from there.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_TRAINERS])
    with TemporaryDirectory() as directory:
        outputs = [Path(directory) / str(rank) for rank in range(len(environments))]
        ranks = [
            context.Process(target=_be_a_rank, args=(name, arguments, environment, output))
            for environment, output in zip(rank_environments(url, environments), outputs, strict=True)
        ]
        try:
            for process in ranks:
                process.start()
            for process in ranks:
                process.join(PATIENCE_SECONDS)
        finally:
            for process in ranks:
                process.kill()
                process.join()
        return [
            Ended(
                code=process.exitcode or 0,
                said=json.loads(output.read_text()) if output.exists() else None,
                log=output.with_suffix(".log").read_text(),
            )
            for process, output in zip(ranks, outputs, strict=True)
        ]


def train(name: str, url: str, environments: Sequence[Mapping[str, str]], *arguments: str) -> list[Any]:
    """Run a trainer as :func:`run` does, to a good end, and return what each rank says."""
    ended = run(name, url, environments, *arguments)
    assert not any(rank.code for rank in ended), "\n".join(rank.log for rank in ended)
    return [rank.said for rank in ended]


class SimulatedNode:
    """A node with simulated GPUs: `rheostat agent run --simulate` in a directory of its own."""

    def __init__(self, directory: Path, gpus: int) -> None:
        directory.mkdir()
        self._directory = directory
        self._gpus = gpus
        self.agent = NodeAgent(directory / "agent.sock")

    @property
    def environment(self) -> dict[str, str]:
        """What a trainer needs to find it."""
        return {"RHEOSTAT_AGENT_DIR": str(self._directory)}

    def limits_watts(self) -> list[float | None]:
        return [gpu.power_limit_watts for gpu in self.agent.gpus()]

    def __enter__(self) -> Self:
        command = ["-m", "rheostat", "agent", "run", "--simulate", str(self._gpus)]
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command, "--runtime-dir", str(self._directory)], stdout=log, stderr=log
            )
        eventually(self.agent.socket.exists)
        return self

    def __exit__(self, *exception: object) -> None:
        self.agent.close()
        self._process.kill()
        self._process.wait()
