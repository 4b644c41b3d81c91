"""Describes the GPUs of this process where no agent does: by `nvidia-smi`, the driver's files in /proc, or PyTorch."""

import csv
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Any

from rheostat.errors import ConfigurationError
from rheostat.schemas.server import UNKNOWN_MODEL, Gpu
from rheostat.sdk.own_gpus import own_gpus, pytorch_device, slice_in_use, told_count

UNKNOWN_GPU = Gpu(model=UNKNOWN_MODEL)
"""Describes a process that trains without a GPU, or on one that neither NVIDIA's driver nor PyTorch shows."""

_PATIENCE_SECONDS = 5.0
# Each folder in it is a GPU, by its PCI address; containers have it, too, with their own GPUs.
_DRIVER_DIRECTORY = Path("/proc/driver/nvidia/gpus")
_DRIVER_LINE = re.compile(r"(?P<name>[^:]+):\s*(?P<value>.+)")
_QUERY = "index,uuid,name,power.limit,mig.mode.current"
_GPU_LINE = re.compile(r"GPU \d+: (?P<model>.+) \(UUID: (?P<uuid>[^)]+)\)")
_SLICE_LINE = re.compile(r"\s+MIG (?P<profile>\S+)\s+Device\s+\d+: \(UUID: (?P<uuid>[^)]+)\)")


@dataclass(frozen=True, slots=True)
class SeenGpu:
    """A GPU that the driver shows this process.

    Attributes:
        gpu: Its UUID.
        index: Its number; inside a container or a job it is not the node's.
        model: Its model.
        limit_watts: The power limit that is set; None: unknown.
        partitioned: Whether it is split by MIG.
    """

    gpu: str
    index: int
    model: str
    limit_watts: int | None
    partitioned: bool


def seen_gpus() -> list[SeenGpu]:
    """Return the GPUs that this process can open, in the order of their numbers; none without NVIDIA's driver."""
    rows = csv.reader(_nvidia_smi(f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"), skipinitialspace=True)
    found = []
    for row in rows:
        with suppress(ValueError):  # a warning among the lines
            index, uuid, model, limit, mig = row
            found.append(SeenGpu(uuid, int(index), model, _watts(limit), mig == "Enabled"))
    return found or _gpus_of_driver()


def _gpus_of_driver() -> list[SeenGpu]:
    """Return the GPUs that the driver's files name: an image may lack `nvidia-smi`."""
    found = []
    with suppress(OSError):
        for index, folder in enumerate(sorted(_DRIVER_DIRECTORY.iterdir())):
            lines = map(_DRIVER_LINE.fullmatch, (folder / "information").read_text().splitlines())
            facts = {line["name"].strip(): line["value"].strip() for line in lines if line}
            found.append(SeenGpu(facts.get("GPU UUID", ""), index, facts.get("Model", "unknown"), None, False))
    return found


def _watts(text: str) -> int | None:
    try:
        return floor(float(text))
    except ValueError:  # [N/A]
        return None


def _nvidia_smi(*arguments: str) -> list[str]:
    """Return the lines that `nvidia-smi` prints; none when it is not there, fails, or hangs."""
    try:
        process = subprocess.Popen(  # noqa: S603
            ["nvidia-smi", *arguments],  # noqa: S607 -- the one of the driver that is installed
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return []
    try:
        output, _ = process.communicate(timeout=_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        # One that hangs in the driver does not even end by SIGKILL: it is not waited for.
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=0.1)
        return []
    return output.decode(errors="replace").splitlines() if process.returncode == 0 else []


def described_gpus(
    named: Sequence[str | int] | None = None,
    *,
    count: int | None = 1,
    local_rank: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Gpu:
    """Return a description of the GPUs of this process, which no agent can limit; for the arguments see `own_gpus`."""
    device = pytorch_device()
    if device is not None and " MIG " in device.name:
        return Gpu(model=device.name)
    seen = seen_gpus()
    partition = slice_in_use(named, environment)
    own: list[SeenGpu] = []
    if partition is None:
        with suppress(ConfigurationError):
            own = own_gpus(seen, seen, named=named, count=count, local_rank=local_rank, environment=environment)
    if partition is not None or any(gpu.partitioned for gpu in own):
        return Gpu(model=_slice_model(partition, {gpu.gpu for gpu in own}) or "MIG")
    if own:
        return Gpu(model=own[0].model, count=len(own), enforced_limit_watts=own[0].limit_watts)
    if device is not None:
        return Gpu(model=device.name)
    # A driver that shows GPUs shows this process none of them; PyTorch would only count them by another order.
    if seen:
        return UNKNOWN_GPU
    model = _model_of_pytorch(local_rank or 0) or UNKNOWN_GPU.model
    return Gpu(model=model, count=told_count(named, count, local_rank, environment))


def _model_of_pytorch(index: int) -> str | None:
    """Return the GPU that PyTorch will use, where it is imported already; other makers' GPUs have no other tool."""
    torch: Any = sys.modules.get("torch")
    # What goes wrong here, in whatever device a build of PyTorch has, is no reason not to train.
    with suppress(Exception):
        if torch is not None and torch.cuda.is_available():
            return str(torch.cuda.get_device_name(index if index < torch.cuda.device_count() else 0))
    return None


def _slice_model(partition: str | None, gpus: set[str]) -> str | None:
    """Return the model of a slice, as PyTorch names it; of several slices of some GPUs CUDA uses the first."""
    of = uuid = ""
    for line in _nvidia_smi("-L"):
        if gpu := _GPU_LINE.match(line):
            of, uuid = gpu["model"], gpu["uuid"]
        elif (one := _SLICE_LINE.match(line)) and (uuid in gpus or one["uuid"] == partition):
            return f"{of} MIG {one['profile']}"
    return None
