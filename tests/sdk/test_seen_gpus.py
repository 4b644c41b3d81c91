import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rheostat.schemas.server import Gpu
from rheostat.sdk import seen_gpus
from rheostat.sdk.seen_gpus import UNKNOWN_GPU, described_gpus
from tests.sdk.driver_tool import install, printing
from tests.waiting import Stopwatch

TWO = """0, GPU-0aaa, NVIDIA H200, 700.00, Disabled
1, GPU-1aaa, NVIDIA A100-SXM4-40GB, 399.5, Disabled"""
PARTITIONED = "0, GPU-0aaa, NVIDIA A100-SXM4-40GB, 400.00, Enabled"
SLICES = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-0aaa)
  MIG 3g.20gb     Device  0: (UUID: MIG-0bbb)
  MIG 1g.5gb      Device  1: (UUID: MIG-1bbb)"""


@pytest.fixture(autouse=True)
def _no_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(seen_gpus, "_DRIVER_DIRECTORY", tmp_path / "none")
    monkeypatch.delitem(sys.modules, "torch", raising=False)


def described(count: int | None = 1, local_rank: int | None = None, **environment: str) -> Gpu:
    return described_gpus(count=count, local_rank=local_rank, environment=environment)


def test_gpus_are_as_the_driver_shows_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, printing(TWO))
    assert described() == Gpu(model="NVIDIA H200", count=1, enforced_limit_watts=700)
    assert described(count=2).count == 2
    assert described(CUDA_VISIBLE_DEVICES="1") == described(local_rank=1)
    assert described(local_rank=1) == Gpu(model="NVIDIA A100-SXM4-40GB", enforced_limit_watts=399)
    assert described(RHEOSTAT_GPUS="GPU-1aaa").model == "NVIDIA A100-SXM4-40GB"
    assert described(CUDA_VISIBLE_DEVICES="") == UNKNOWN_GPU


def test_a_limit_that_the_gpu_does_not_have_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, printing("0, GPU-0aaa, GeForce GTX 1050, [N/A], [N/A]"))
    assert described() == Gpu(model="GeForce GTX 1050")


@pytest.mark.parametrize(
    ("uuid", "model"),
    [(None, "NVIDIA A100-SXM4-40GB MIG 3g.20gb"), ("MIG-1bbb", "NVIDIA A100-SXM4-40GB MIG 1g.5gb"), ("MIG-9", "MIG")],
)
def test_a_slice_has_a_model_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uuid: str | None, model: str
) -> None:
    install(monkeypatch, tmp_path, printing(PARTITIONED, SLICES))
    environment = {} if uuid is None else {"CUDA_VISIBLE_DEVICES": uuid}
    assert described_gpus(environment=environment) == Gpu(model=model)


@pytest.mark.parametrize("script", ["exit 9", "echo 'Failed to initialize NVML: Driver/library version mismatch'"])
def test_without_an_answer_of_the_driver_it_is_pytorchs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str
) -> None:
    install(monkeypatch, tmp_path, script)
    assert described() == UNKNOWN_GPU
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        current_device=lambda: 0,
        get_device_properties=lambda _: SimpleNamespace(name="AMD Instinct MI300X"),
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert described() == Gpu(model="AMD Instinct MI300X")
    cuda.get_device_properties = lambda _: SimpleNamespace(name="NVIDIA H100 MIG 1g.10gb")
    assert described() == Gpu(model="NVIDIA H100 MIG 1g.10gb")


def test_a_gpu_of_another_maker_is_named_by_pytorch_before_it_is_initialised(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, "exit 9")
    cuda = SimpleNamespace(
        is_initialized=lambda: False,
        is_available=lambda: True,
        device_count=lambda: 2,
        get_device_name=lambda index: f"AMD {index}",
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert described() == Gpu(model="AMD 0")
    assert described(local_rank=1) == described(local_rank=1) == Gpu(model="AMD 1")
    cuda.is_available = lambda: False
    assert described() == UNKNOWN_GPU
    del cuda.is_available
    assert described() == UNKNOWN_GPU


def test_an_image_without_the_drivers_tool_shows_the_drivers_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, tmp_path, "exit 9")
    for number, address in enumerate(("0000:18:00.0", "0000:9a:00.0")):
        (folder := tmp_path / "gpus" / address).mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t NVIDIA H100\nIRQ:   \t\t 7\nGPU UUID: \t GPU-{number}aaa\n")
    monkeypatch.setattr(seen_gpus, "_DRIVER_DIRECTORY", tmp_path / "gpus")
    assert [gpu.gpu for gpu in seen_gpus.seen_gpus()] == ["GPU-0aaa", "GPU-1aaa"]
    assert described(count=2) == Gpu(model="NVIDIA H100", count=2)
    assert described(CUDA_VISIBLE_DEVICES="") == UNKNOWN_GPU


def test_gpus_that_nobody_sees_are_counted_as_they_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "exit 9")
    assert described(RHEOSTAT_GPUS="0,1") == Gpu(model="unknown", count=2)
    assert described(count=None, CUDA_VISIBLE_DEVICES="0,1,2") == Gpu(model="unknown", count=3)
    assert described(count=None, CUDA_VISIBLE_DEVICES="") == described(CUDA_VISIBLE_DEVICES="0,1") == UNKNOWN_GPU
    assert described(count=None, local_rank=1, CUDA_VISIBLE_DEVICES="0,1") == UNKNOWN_GPU


def test_a_driver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "exec sleep 30")
    monkeypatch.setattr(seen_gpus, "_PATIENCE_SECONDS", 0.1)
    watch = Stopwatch()
    assert described() == UNKNOWN_GPU
    assert watch.seconds() < 15  # it would be 30
