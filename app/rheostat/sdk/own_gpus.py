"""Finds which of several GPUs this process trains on."""

import os
import sys
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, Protocol, TypeVar

from rheostat.errors import ConfigurationError

GPUS_VARIABLE = "RHEOSTAT_GPUS"
_VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"
SLICE_PREFIX = "MIG-"
"""What the UUID of a slice of a GPU that is partitioned by MIG begins with."""


class NumberedGpu(Protocol):
    """A GPU as the agent or the driver describes it."""

    @property
    def gpu(self) -> str:
        """Its UUID."""

    @property
    def index(self) -> int:
        """Its number on the node."""


G = TypeVar("G", bound=NumberedGpu)


def own_gpus(
    gpus: Sequence[G],
    visible: Sequence[G] | None,
    *,
    named: Sequence[str | int] | None = None,
    count: int | None = 1,
    local_rank: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> list[G]:
    """Return the GPUs of this process.

    The GPUs that the user names come first, then the device that PyTorch uses, then those that CUDA shows this process.
    CUDA numbers GPUs by speed unless ``CUDA_DEVICE_ORDER=PCI_BUS_ID``; on a node of equal GPUs that is the same.

    Args:
        gpus: All GPUs of the node.
        visible: Those that this process may use, in the order in which its numbers count them; None: unknown. Inside a
            container or a job its numbers are not the node's.
        named: UUIDs (or their beginnings) and numbers; by default those in ``RHEOSTAT_GPUS``, if it is set.
        count: How many this process uses when it runs alone; None: all in ``CUDA_VISIBLE_DEVICES``, else one.
        local_rank: Its number among the processes of its run on this node, which use one GPU each; None: it runs alone.
        environment: The environment variables.

    Raises:
        ConfigurationError: A named GPU is not on this node, or a number has no meaning because `visible` is unknown.
    """
    if visible is None and len(gpus) == 1:
        visible = gpus
    if (names := _names(named, environment)) is not None:
        # Who names a number where no other is known means the node's.
        numbers = {gpu.index: gpu for gpu in gpus} if visible is None else dict(enumerate(visible))
        return [_find(gpus, numbers, name) for name in names]
    # PyTorch on other GPUs than NVIDIA's knows no UUID.
    if count == 1 and (uuid := getattr(pytorch_device(), "uuid", None)) is not None:
        return [_find(gpus, {}, str(uuid))]
    shown = _shown(gpus, visible, environment)
    if local_rank is None:
        if count is None:
            count = len(shown) if _VISIBLE_VARIABLE in environment else 1
        return shown[:count]
    # A launcher shows every process its own GPU only, or all of them.
    return shown if len(shown) == 1 else shown[local_rank : local_rank + 1]


def told_count(
    named: Sequence[str | int] | None,
    count: int | None,
    local_rank: int | None,
    environment: Mapping[str, str] = os.environ,
) -> int:
    """Return how many GPUs this process uses where none can be seen; for the arguments see `own_gpus`."""
    if (names := _names(named, environment)) is not None:
        return max(len(names), 1)
    if local_rank is not None:
        return 1
    if count is not None:
        return count
    return max(len(_wanted(environment.get(_VISIBLE_VARIABLE, ""))), 1)


def slice_in_use(named: Sequence[str | int] | None = None, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the UUID of the slice of a partitioned GPU that this process is told to use; None: it is not."""
    names = _names(named, environment)
    if names is None:
        names = environment.get(_VISIBLE_VARIABLE, "").split(",")
    return next((name for name in names if name.startswith(SLICE_PREFIX)), None)


def _names(named: Sequence[str | int] | None, environment: Mapping[str, str]) -> list[str] | None:
    text = environment.get(GPUS_VARIABLE)
    if named is None and text:
        named = text.split(",")
    return None if named is None else [str(name).strip() for name in named]


def _find(gpus: Sequence[G], numbers: Mapping[int, G], name: str) -> G:
    found = [gpu for gpu in gpus if _is_uuid(gpu, name)]
    if name.isdecimal() and int(name) in numbers:
        found = [numbers[int(name)]]
    if len(found) != 1:
        there = ", ".join(f"{number} ({gpu.gpu})" for number, gpu in sorted(numbers.items(), key=lambda one: one[0]))
        raise ConfigurationError(f"GPU {name!r} is not on this node.", hint=f"Its GPUs: {there or 'none'}.")
    return found[0]


def _is_uuid(gpu: NumberedGpu, name: str) -> bool:
    return len(name) > len("GPU-") and gpu.gpu.startswith(name if name.startswith("GPU-") else f"GPU-{name}")


def _shown(gpus: Sequence[G], visible: Sequence[G] | None, environment: Mapping[str, str]) -> list[G]:
    text = environment.get(_VISIBLE_VARIABLE)
    wanted = [] if text is None else _wanted(text)
    if visible is None and (text is None or any(name.isdecimal() for name in wanted)):
        raise ConfigurationError(
            f"Which of the node's {len(gpus)} GPUs this process uses is unknown.",
            hint=f"Name them by UUID in {GPUS_VARIABLE}; in the process's container or job `nvidia-smi -L` lists them.",
        )
    if text is None:
        return list(visible or ())
    return [_find(gpus, dict(enumerate(visible or ())), name) for name in wanted]


def _wanted(text: str) -> list[str]:
    """Return the entries of a list; CUDA reads it up to the first one that it does not know, such as -1."""
    names = (name.strip() for name in text.split(","))
    return list(takewhile(lambda name: name and not name.startswith("-"), names))


def pytorch_device() -> Any | None:
    """Return the properties of the device that PyTorch uses; None unless it has initialised CUDA already."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return torch.cuda.get_device_properties(torch.cuda.current_device())
