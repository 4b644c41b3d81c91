"""A server for the demo alone: its own process, its own database, gone afterwards."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

from rheostat.errors import RheostatError

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0


@contextmanager
def demo_server() -> Iterator[str]:
    """Run a server with an empty database in a temporary directory, and give its address.

    Raises:
        RheostatError: It did not start; the message has what it wrote to its standard error.
    """
    with TemporaryDirectory(prefix="rheostat-demo-") as directory:
        output, complaints = Path(directory, "stdout"), Path(directory, "stderr")
        with output.open("wb") as stdout, complaints.open("wb") as stderr:
            process = subprocess.Popen(  # noqa: S603
                [
                    *(sys.executable, "-P", "-m", "rheostat", "serve", "--port", "0"),
                    *("--database-url", f"sqlite:///{Path(directory, 'demo.db')}"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                # The settings of a server that you run elsewhere are not meant for this one.
                env={name: value for name, value in os.environ.items() if not name.startswith("RHEOSTAT_")},
                # Ctrl-C reaches the demo alone, which can then still tell the server.
                start_new_session=True,
            )
        try:
            yield _address(process, output, complaints)
        finally:
            _stop(process)


def _address(process: "subprocess.Popen[bytes]", output: Path, complaints: Path) -> str:
    give_up_at = monotonic() + _START_SECONDS
    while monotonic() < give_up_at:
        exited = process.poll() is not None
        line = re.match(r"Rheostat listens on (\S+)\n", output.read_text())
        if line is not None:
            return line[1]
        if exited:
            break
        sleep(0.05)
    raise RheostatError(f"The demo's server did not start.\n{complaints.read_text().strip()}")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.terminate()
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        process.kill()
        process.wait()
