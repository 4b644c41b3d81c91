"""The processes of one run: alone, or all ranks of `torch.distributed`."""

import os
import sys
from typing import Any, Protocol, TypeVar

from rheostat.errors import ConfigurationError

T = TypeVar("T")


class Ranks(Protocol):
    """Communication between the processes of a run. Every rank makes the same calls in the same order."""

    rank: int
    size: int

    def broadcast(self, value: T) -> T:
        """Return the value of rank 0."""

    def gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in their order."""


class Alone:
    """A run of one process."""

    rank, size = 0, 1

    def broadcast(self, value: T) -> T:
        """See `Ranks`."""
        return value

    def gather(self, value: T) -> list[T]:
        """See `Ranks`."""
        return [value]


class Distributed:
    """The ranks of an initialised `torch.distributed`, over a channel of their own.

    The channel is a Gloo group, which leaves the training's own group alone and uses no GPU. Each rank must use it from
    one thread only.

    Args:
        distributed: The module `torch.distributed`.
    """

    def __init__(self, distributed: Any) -> None:
        self._distributed = distributed
        self._group = distributed.new_group(backend="gloo")
        self.rank: int = distributed.get_rank()
        self.size: int = distributed.get_world_size()

    def broadcast(self, value: T) -> T:
        """See `Ranks`."""
        box: list[Any] = [value]
        self._distributed.broadcast_object_list(box, src=0, group=self._group)
        broadcast: T = box[0]
        return broadcast

    def gather(self, value: T) -> list[T]:
        """See `Ranks`."""
        boxes: list[Any] = [None] * self.size
        self._distributed.all_gather_object(boxes, value, group=self._group)
        return boxes


def has_launcher() -> bool:
    """Return whether a launcher such as `torchrun` has started several processes, of which this is one."""
    return os.environ.get("WORLD_SIZE", "1") not in ("", "1")


def ranks_of_this_run() -> Ranks:
    """Return a new channel between the processes of this run.

    Raises:
        ConfigurationError: A launcher has started several, and `torch.distributed` is not initialised yet.
    """
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        return Distributed(torch.distributed) if torch.distributed.get_world_size() > 1 else Alone()
    if has_launcher():
        raise ConfigurationError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but torch.distributed is not initialised.",
            hint="Call torch.distributed.init_process_group() before the trial begins, or unset WORLD_SIZE.",
        )
    return Alone()
