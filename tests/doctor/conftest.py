"""A node with an agent, and a server."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from rheostat.agent.site import Site
from tests.agent.bench import Bench, Served
from tests.nvml.fake import FakeNvml
from tests.serving import Serving, serving


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that other users can enter, with a path short enough for a socket."""
    with TemporaryDirectory(prefix="rheostat-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def bench(fake: FakeNvml, directory: Path) -> Iterator[Bench]:
    """A node whose ledger is where the doctor looks for it."""
    bench = Bench(fake, directory / "ledger", Site())
    yield bench
    bench.close()


@pytest.fixture
def served(bench: Bench, directory: Path) -> Iterator[Served]:
    """The agent of that node, on a socket."""
    served = Served(bench, directory)
    yield served
    served.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A real server, the same one for all tests of a file."""
    directory = tmp_path_factory.mktemp("server")
    with serving(f"sqlite:///{directory / 'rheostat.db'}", directory / "log") as running:
        yield running
