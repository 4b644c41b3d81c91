"""Runs a server and an agent for the demo only, in processes and temporary directories of their own."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from time import monotonic, sleep

from rheostat.errors import RheostatError, ServerUnreachable
from rheostat.sdk.node_agent import NodeAgent

# Both only end what would otherwise hang: a busy machine is slow, and a process that has ended is not waited for.
_START_SECONDS = 300.0
_STOP_SECONDS = 60.0
_LONGEST_PARENT = 70


@dataclass(frozen=True, slots=True)
class DemoServer:
    """A running server of the demo.

    Attributes:
        url: Its address.
        database_url: Its database.
        wait: Waits until the server ends by itself, which is a `RheostatError`.
    """

    url: str
    database_url: str
    wait: Callable[[], None]


@contextmanager
def demo_server(*, keep: bool = False) -> Iterator[DemoServer]:
    """Run a server with an empty database in a temporary directory.

    Args:
        keep: Leave the directory where it is, unless the block ends with an exception.

    Raises:
        RheostatError: It did not start; the message has its standard error.
    """
    with _directory(keep=keep) as directory:
        database = f"sqlite:///{directory / 'demo.db'}"
        with _process(directory, "serve", "--port", "0", "--database-url", database) as process:
            _wait(process, directory, lambda: _listens_on(directory) is not None, "server")
            yield DemoServer(_listens_on(directory) or "", database, partial(_wait_for_end, process))


@contextmanager
def demo_agent() -> Iterator[NodeAgent]:
    """Run an agent with one simulated GPU in a temporary directory.

    Raises:
        RheostatError: It did not start; the message has its standard error.
    """
    # The path of a Unix socket may have 107 bytes, fewer than a long TMPDIR takes.
    parent = None if len(gettempdir()) < _LONGEST_PARENT else "/tmp"  # noqa: S108
    with _directory(parent) as directory, NodeAgent(directory / "agent.sock") as agent:
        arguments = ("agent", "run", "--simulate", "1", "--runtime-dir", str(directory))
        with _process(directory, *arguments) as process:
            _wait(process, directory, lambda: _answers(agent), "agent")
            yield agent


@contextmanager
def _directory(parent: str | None = None, *, keep: bool = False) -> Iterator[Path]:
    directory = Path(mkdtemp(prefix="rheostat-demo-", dir=parent))
    kept = False
    try:
        yield directory
        kept = keep
    finally:
        if not kept:
            shutil.rmtree(directory)


@contextmanager
def _process(directory: Path, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    with (directory / "stdout").open("wb") as stdout, (directory / "stderr").open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", "rheostat", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            # Settings of another server or agent do not apply to these.
            env={name: value for name, value in os.environ.items() if not name.startswith("RHEOSTAT_")},
            # Ctrl-C reaches the demo only, which can then still report to the server.
            start_new_session=True,
        )
    try:
        yield process
    finally:
        _stop(process)


def _wait(process: "subprocess.Popen[bytes]", directory: Path, has_started: Callable[[], bool], what: str) -> None:
    give_up_at = monotonic() + _START_SECONDS
    while monotonic() < give_up_at:
        exited = process.poll() is not None
        if has_started():
            return
        if exited:
            break
        sleep(0.05)
    raise RheostatError(f"The demo's {what} did not start.\n{(directory / 'stderr').read_text().strip()}")


def _wait_for_end(process: "subprocess.Popen[bytes]") -> None:
    raise RheostatError(f"The demo's server ended with exit code {process.wait()}.")


def _listens_on(directory: Path) -> str | None:
    line = re.match(r"Rheostat listens on (\S+)\n", (directory / "stdout").read_text())
    return None if line is None else line[1]


def _answers(agent: NodeAgent) -> bool:
    try:
        return len(agent.gpus()) > 0
    except ServerUnreachable:
        return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.terminate()
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        process.kill()
        process.wait()
