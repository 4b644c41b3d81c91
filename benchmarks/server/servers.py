"""The two servers as processes of their own, each on a database that was made for it."""

import os
import re
import socket
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

START_SECONDS = 60

PEER_REQUIREMENTS = ("zeus[bso,bso-server]==0.16.0", "aiosqlite", "asyncpg", "greenlet")
"""The peer with what its extra forgets: drivers, and what SQLAlchemy's asyncio needs."""

PEER_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}

# Its wheel brings no migrations.
_CREATE_PEER_TABLES = """
import asyncio, sys
from sqlalchemy.ext.asyncio import create_async_engine
from zeus.optimizer.batch_size.server.database.schema import Base

async def main():
    engine = create_async_engine(sys.argv[1])
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()

asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that listens: its port, and the ids of its processes."""

    port: int
    pid: int

    @property
    def pids(self) -> list[int]:
        """The process and those that it started."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def cpu_seconds(self) -> float:
        """Return the processor time that it has taken."""
        ticks = 0
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def resident_megabytes(self) -> float:
        """Return the resident memory of its largest process."""
        sizes = [re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in self.pids]
        return max(int(size[1]) for size in sizes if size) / 1024


@contextmanager
def rheostat(database_url: str, log: Path, workers: int = 1) -> Iterator[Server]:
    """Serve a database with this project's server."""
    _run([sys.executable, "-m", "rheostat", "db", "upgrade", "--database-url", database_url])
    command = [sys.executable, "-m", "rheostat", "serve", "--port", "0", "--database-url", database_url]
    if workers > 1:
        command += ["--workers", str(workers)]
    with _listening(command, log, r"listens on http://127\.0\.0\.1:(\d+)", {}) as server:
        yield server


@contextmanager
def peer(python: Path, database_url: str, log: Path, workers: int = 1) -> Iterator[Server]:
    """Serve a database with the peer's server."""
    environment = {"ZEUS_BSO_DATABASE_URL": database_url, "ZEUS_BSO_LOG_LEVEL": "ERROR"}
    _run([str(python), "-c", _CREATE_PEER_TABLES, database_url], environment)
    app = "zeus.optimizer.batch_size.server.router:app"
    command = [str(python), "-m", "uvicorn", app, "--port", "0", "--no-access-log", "--workers", str(workers)]
    with _listening(command, log, r"running on http://127\.0\.0\.1:(\d+)", environment) as server:
        yield server


def peer_python(environment: Path) -> Path:
    """Return the Python of the peer's own environment, which is made once.

    Raises:
        RuntimeError: The peer cannot be installed.
    """
    python = environment / "bin" / "python"
    ready = environment / ".ready"
    if not ready.exists():
        venv.create(environment, with_pip=True, clear=True)
        _run([str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", *PEER_REQUIREMENTS])
        ready.touch()
    return python


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=os.environ | (environment or {}), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[:4])} ... failed:\n{done.stderr[-2000:]}")


def _takes_connections(port: int) -> bool:
    """Return whether a server listens; uvicorn names its address before its workers do."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


@contextmanager
def _listening(command: list[str], log: Path, pattern: str, environment: dict[str, str]) -> Iterator[Server]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | environment, cwd=log.parent
        )
    try:
        give_up_at = monotonic() + START_SECONDS
        while (found := re.search(pattern, log.read_text())) is None or not _takes_connections(int(found[1])):
            if process.poll() is not None or monotonic() > give_up_at:
                raise RuntimeError(f"{' '.join(command[:4])} ... does not listen:\n{log.read_text()[-2000:]}")
            sleep(0.05)
        yield Server(int(found[1]), process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
