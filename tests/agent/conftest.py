"""What several test files of the agent need."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from rheostat.agent.site import Site
from tests.agent.bench import Bench, Served
from tests.nvml.fake import FakeNvml


@pytest.fixture
def site() -> Site:
    return Site.model_validate({"limits": {"max_watts": 280.0}})


@pytest.fixture
def bench(fake: FakeNvml, tmp_path: Path, site: Site) -> Iterator[Bench]:
    bench = Bench(fake, tmp_path / "ledger", site)
    yield bench
    bench.close()


@pytest.fixture
def served(bench: Bench, directory: Path) -> Iterator[Served]:
    served = Served(bench, directory)
    yield served
    served.close()
    assert not served.socket.exists()


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that other users can enter, with a path short enough for a socket."""
    with TemporaryDirectory(prefix="rheostat-") as name:
        Path(name).chmod(0o755)
        yield Path(name)
