"""Finds which of the node's GPUs this process trains on."""

import os
import sys
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from rheostat.errors import ConfigurationError
from rheostat.schemas.agent import NodeGpu

GPUS_VARIABLE = "RHEOSTAT_GPUS"
_VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"


def own_gpus(
    gpus: Sequence[NodeGpu],
    *,
    named: Sequence[str | int] | None = None,
    count: int | None = 1,
    local_rank: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> list[NodeGpu]:
    """Return the GPUs of this process.

    The GPUs that the user names come first, then the device that PyTorch uses, then those that CUDA shows this process.
    CUDA numbers GPUs by speed unless ``CUDA_DEVICE_ORDER=PCI_BUS_ID``; on a node of equal GPUs that is the same.

    Args:
        gpus: All GPUs of the node.
        named: UUIDs (or their beginnings) and numbers; by default those in ``RHEOSTAT_GPUS``, if it is set.
        count: How many this process uses when it runs alone; None: all in ``CUDA_VISIBLE_DEVICES``, else one.
        local_rank: Its number among the processes of its run on this node, which use one GPU each; None: it runs alone.
        environment: The environment variables.

    Raises:
        ConfigurationError: A named GPU is not on this node, or is a slice of a partitioned GPU.
    """
    text = environment.get(GPUS_VARIABLE)
    if named is None and text:
        named = text.split(",")
    if named is not None:
        return [_find(gpus, str(name).strip()) for name in named]
    if (uuid := _uuid_in_use()) is not None and count == 1:
        return [_find(gpus, uuid)]
    visible = _visible(gpus, environment)
    if local_rank is None:
        if count is None:
            count = len(visible) if _VISIBLE_VARIABLE in environment else 1
        return visible[:count]
    # A launcher shows every process its own GPU only, or all of them.
    return visible if len(visible) == 1 else visible[local_rank : local_rank + 1]


def _find(gpus: Sequence[NodeGpu], name: str) -> NodeGpu:
    if name.startswith("MIG-"):
        raise ConfigurationError(
            f"{name} is a slice of a partitioned GPU.", hint="Power can be limited and measured for whole GPUs only."
        )
    found = [gpu for gpu in gpus if (name.isdecimal() and gpu.index == int(name)) or _is_uuid(gpu, name)]
    if len(found) != 1:
        there = ", ".join(f"{gpu.index} ({gpu.gpu})" for gpu in gpus) or "none"
        raise ConfigurationError(f"GPU {name!r} is not on this node.", hint=f"Its GPUs: {there}.")
    return found[0]


def _is_uuid(gpu: NodeGpu, name: str) -> bool:
    return len(name) > len("GPU-") and gpu.gpu.startswith(name if name.startswith("GPU-") else f"GPU-{name}")


def _visible(gpus: Sequence[NodeGpu], environment: Mapping[str, str]) -> list[NodeGpu]:
    by_index = sorted(gpus, key=lambda gpu: gpu.index)
    text = environment.get(_VISIBLE_VARIABLE)
    if text is None:
        return by_index
    # CUDA reads the list up to the first entry that it does not know, such as -1.
    names = takewhile(lambda name: name and not name.startswith("-"), (name.strip() for name in text.split(",")))
    return [_find(gpus, name) for name in names]


def _uuid_in_use() -> str | None:
    """Return the UUID of the device that PyTorch uses; None unless it has initialised CUDA already."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    uuid = getattr(torch.cuda.get_device_properties(torch.cuda.current_device()), "uuid", None)
    return None if uuid is None else str(uuid)
