"""What more than one suite needs."""

import os
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

from tests.postgres import PostgresServer

# They are in an environment of their own; see `make test-frameworks`.
if any(find_spec(framework) is None for framework in ("torch", "transformers", "lightning")):
    collect_ignore = ["frameworks"]

pytest_plugins = ["tests.databases", "tests.nvml.fixtures"]

# A slow or busy machine is no failure, and a failure shows on every machine.
settings.register_profile("house", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

# The settings of a server that runs on this machine are not for the tests.
for name in [name for name in os.environ if name.startswith("RHEOSTAT_")]:
    del os.environ[name]
# A job in a shell's background ignores Ctrl-C, and one under nohup a hang-up; so would what it starts, which tests
# interrupt. A handler is not inherited.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)
# All fake GPUs have the same names, in all processes that run tests at the same time.
_locks = TemporaryDirectory(prefix="rheostat-locks-")
os.environ["RHEOSTAT_LOCKS_DIR"] = _locks.name


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the tests that need a browser unless they are asked for; see `make test-browser`."""
    is_asked_for = any("browser" in argument for argument in config.args)
    return True if collection_path.name == "browser" and not is_asked_for else None


@pytest.fixture(autouse=True)
def spool(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's unsent reports wait: not where the user's do."""
    directory = tmp_path_factory.mktemp("spool")
    monkeypatch.setenv("RHEOSTAT_SPOOL_DIR", str(directory))
    return directory


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL, the same one for the whole session."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database with nothing in it; a test that takes it runs once on each engine."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'rheostat.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    url = server.create_database()
    yield url
    server.drop_database(url)
