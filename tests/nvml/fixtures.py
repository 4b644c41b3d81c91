"""The fake NVML: built once, with GPUs of its own for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nvml.fake import FakeNvml, build


@pytest.fixture(scope="session")
def fake_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled library."""
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def fake(fake_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNvml]:
    """Two GPUs, visible to this process and to those that get `fake.environment()`."""
    nvml = FakeNvml(fake_library, tmp_path / "gpus")
    monkeypatch.setenv("FAKE_NVML_STATE", str(nvml.path))
    yield nvml
    nvml.close()
