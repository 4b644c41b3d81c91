"""`rheostat run` in a process of its own, forked from one that has imported everything, around small shell scripts."""

import multiprocessing
import os
import sys
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Self

from tests.waiting import PATIENCE_SECONDS, eventually

SETTINGS = ("--batch-sizes", "32,64,128", "--default-batch-size", "64", "--max-epochs", "10")
TARGET = ("--target", "accuracy>=0.9", "--metric-pattern", r"acc=(?P<metric>[0-9.]+)")
# These tests check the reports; the cost bound must not stop the run.
WITHOUT_BOUND = ("--beta-knob", "0")
GPU = ("--gpu", "Test GPU:100-250")
OPTIONS = (*SETTINGS, *TARGET, *GPU, *WITHOUT_BOUND)

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["tests.launch.runs", "rheostat.cli", "rheostat.launch.run", "rheostat.sdk.client"])


class Run:
    """A run of a shell script as a job, until the block ends.

    Args:
        url: The server.
        job: Name of the job.
        script: What `sh` is to run.
        options: Of `rheostat run`.
        arguments: Of the script.
        environment: More environment variables.
        command: Instead of the script.
    """

    def __init__(
        self,
        url: str,
        job: str,
        script: str,
        *options: str,
        arguments: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        command: tuple[str, ...] = (),
    ) -> None:
        around = ("run", "--job", job, "--server", url, "--server-patience", "0.3", *options, "--")
        directory = Path(mkdtemp(prefix="run-", dir=os.environ["RHEOSTAT_SPOOL_DIR"]))
        self._out, self._err = directory / "out", directory / "err"
        self._out.touch()
        self._err.touch()
        self.process = _forks.Process(
            target=_run,
            args=(
                [*around, *(command or ("sh", "-c", script, "sh", *arguments))],
                {**os.environ, **(environment or {})},
                self._out,
                self._err,
            ),
        )
        self.process.start()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def raw(self) -> bytes:
        """The output up to now."""
        return self._out.read_bytes()

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def code(self) -> int:
        """Its exit code, once it has ended."""
        self.process.join(PATIENCE_SECONDS)
        assert self.process.exitcode is not None, self.err
        return self.process.exitcode

    def until(self, text: str) -> None:
        """Wait until its output has a text in it."""
        eventually(lambda: text in self.out or not self.process.is_alive())
        assert text in self.out, self.err

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.terminate()  # its command ends with it
        self.process.join(PATIENCE_SECONDS)
        self.process.kill()
        self.process.join()


def ended(url: str, job: str, script: str, *options: str, arguments: tuple[str, ...] = ()) -> Run:
    """Return a run that has come to its end."""
    with Run(url, job, script, *options, arguments=arguments) as run:
        assert run.code is not None
    return run


def _run(arguments: list[str], environment: dict[str, str], out: Path, err: Path) -> None:
    """Be `rheostat`, in a process of its own."""
    from rheostat.cli import main

    os.environ.clear()
    os.environ.update(environment)
    for path, mode, descriptor in ((os.devnull, "rb", 0), (out, "ab", 1), (err, "ab", 2)):
        with open(path, mode) as file:  # noqa: PTH123 -- devnull is no path
            os.dup2(file.fileno(), descriptor)
    sys.argv = ["rheostat", *arguments]
    main()


def gone(pid: int) -> bool:
    """Return whether a process has ended, also if its parent has not waited for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
