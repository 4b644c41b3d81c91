import sys
from pathlib import Path
from time import monotonic
from types import SimpleNamespace

import pytest

from rheostat.schemas.server import Gpu
from rheostat.sdk import seen_gpus
from rheostat.sdk.seen_gpus import NO_GPU, described_gpus
from tests.sdk.driver_tool import install, printing

TWO = """0, GPU-0aaa, NVIDIA H200, 700.00, Disabled
1, GPU-1aaa, NVIDIA A100-SXM4-40GB, 399.5, Disabled"""
PARTITIONED = "0, GPU-0aaa, NVIDIA A100-SXM4-40GB, 400.00, Enabled"
SLICES = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-0aaa)
  MIG 3g.20gb     Device  0: (UUID: MIG-0bbb)
  MIG 1g.5gb      Device  1: (UUID: MIG-1bbb)"""


def described(count: int | None = 1, local_rank: int | None = None, **environment: str) -> Gpu:
    return described_gpus(count=count, local_rank=local_rank, environment=environment)


def test_gpus_are_as_the_driver_shows_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, printing(TWO))
    assert described() == Gpu(model="NVIDIA H200", count=1, enforced_limit_watts=700)
    assert described(count=2).count == 2
    assert described(CUDA_VISIBLE_DEVICES="1") == described(local_rank=1)
    assert described(local_rank=1) == Gpu(model="NVIDIA A100-SXM4-40GB", enforced_limit_watts=399)
    assert described(RHEOSTAT_GPUS="GPU-1aaa").model == "NVIDIA A100-SXM4-40GB"
    assert described(CUDA_VISIBLE_DEVICES="") == NO_GPU


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
    assert described() == NO_GPU
    cuda = SimpleNamespace(
        is_initialized=lambda: True,
        current_device=lambda: 0,
        get_device_properties=lambda _: SimpleNamespace(name="AMD Instinct MI300X"),
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert described() == Gpu(model="AMD Instinct MI300X")
    cuda.get_device_properties = lambda _: SimpleNamespace(name="NVIDIA H100 MIG 1g.10gb")
    assert described() == Gpu(model="NVIDIA H100 MIG 1g.10gb")


def test_a_driver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path, "exec sleep 30")
    monkeypatch.setattr(seen_gpus, "_PATIENCE_SECONDS", 0.1)
    begin = monotonic()
    assert described() == NO_GPU
    assert monotonic() - begin < 15  # it would be 30
