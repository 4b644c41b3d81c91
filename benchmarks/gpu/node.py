"""An agent for the check only, which may be killed and started again; it never changes a limit."""

import grp
import os
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Self

from rheostat.errors import RheostatError
from rheostat.sdk.node_agent import NodeAgent

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0


class CheckedAgent:
    """`rheostat agent` in a directory of its own, until the block ends.

    Attributes:
        directory: Its runtime directory.
        client: A client of it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "agent"
        self.client = NodeAgent(self.directory / "agent.sock")
        self._site = directory / "agent.toml"
        self._log = directory / "agent.log"
        group = grp.getgrgid(os.getgid()).gr_name
        self._site.write_text(f'group = "{group}"\n[limits]\nchange = false\n')
        self._site.chmod(0o600)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def start(self) -> None:
        """Start it; return when it answers.

        Raises:
            RuntimeError: It does not; the message has its log.
        """
        command = [sys.executable, "-m", "rheostat", "agent", "run", "--runtime-dir", str(self.directory)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([*command, "--site", str(self._site)], stdout=log, stderr=log)  # noqa: S603
        give_up_at = monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or monotonic() > give_up_at:
                raise RuntimeError(f"The agent does not start:\n{self._log.read_text()[-2000:]}")
            sleep(0.05)

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def cpu_seconds(self) -> float:
        """Return the processor time that it has taken."""
        if self._process is None:
            return 0.0
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _answers(self) -> bool:
        try:
            return bool(self.client.gpus())
        except RheostatError:
            return False
