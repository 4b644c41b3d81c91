"""Splits a global batch over devices, and over the small batches whose gradients each of them accumulates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from rheostat.errors import ConfigurationError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Split:
    """A global batch in equal parts; times the number of devices they are its size.

    Attributes:
        per_device: Samples of a device in one forward pass.
        accumulation_steps: Forward passes before the optimizer steps.
    """

    per_device: int
    accumulation_steps: int


def equal_split(batch_size: int, devices: int, accumulation_steps: int, most_per_device: int | None = None) -> Split:
    """Split a global batch into equal parts.

    Args:
        batch_size: The global batch size.
        devices: How many devices share it.
        accumulation_steps: Accumulations of each device.
        most_per_device: Samples that fit a device at once; accumulations are then as few as possible.

    Raises:
        ConfigurationError: There is no such split.
    """
    if most_per_device is not None:
        share = batch_size // devices
        most = max(most_per_device, 1)
        accumulation_steps = next((n for n in range(1, share + 1) if share % n == 0 and share // n <= most), 1)
    parts = devices * accumulation_steps
    if batch_size % parts:
        raise ConfigurationError(
            f"A batch size of {batch_size} cannot be split equally over {devices} devices with {accumulation_steps}"
            " accumulated batches each.",
            hint=f"Give the job batch sizes that are multiples of {parts}.",
        )
    return Split(batch_size // parts, accumulation_steps)


def share(items: Sequence[T], parts: int, part: int) -> Sequence[T]:
    """Return one part of items that are split into so many; the first parts may have one item more."""
    size, rest = divmod(len(items), parts)
    begin = part * size + min(part, rest)
    return items[begin : begin + size + (part < rest)]
