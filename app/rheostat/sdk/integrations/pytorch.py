"""For training loops in plain PyTorch: the trial's batches and learning rate, on any number of processes."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle, islice
from typing import Any

import torch
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler

from rheostat.errors import ConfigurationError
from rheostat.sdk.integrations.batches import share
from rheostat.sdk.trial import RunningTrial

_log = logging.getLogger("rheostat")


class GlobalBatches(Sampler[list[int]]):
    """Splits each global batch over the processes; all of them take the same number of steps.

    Each pass is another epoch with another order, the same in all processes.

    Attributes:
        epoch: Number of the next epoch; set it after resuming from a checkpoint.

    Args:
        samples: Number of samples.
        trial: The running trial.
        accumulation_steps: Number of batches into which each process splits its share.
        shuffle: Whether the order is random.
        seed: Seed of that order; the same in all processes.

    Raises:
        ConfigurationError: The batch size is smaller than the number of its parts, or there is no sample.
    """

    def __init__(
        self, samples: int, trial: RunningTrial, *, accumulation_steps: int = 1, shuffle: bool = True, seed: int = 0
    ) -> None:
        self._samples = samples
        self._batch_size = trial.batch_size
        self._rank, self._ranks = trial.rank, trial.world_size
        self._accumulation_steps = accumulation_steps
        self._shuffle = shuffle
        self._seed = seed
        self.epoch = 0
        if samples < 1:
            raise ConfigurationError("The data set is empty.")
        if self._batch_size < self._parts:
            raise ConfigurationError(
                f"A batch size of {self._batch_size} is too small for {self._ranks} processes with"
                f" {accumulation_steps} accumulated batches each."
            )

    @property
    def _parts(self) -> int:
        return self._ranks * self._accumulation_steps

    def __len__(self) -> int:
        return -(-self._samples // self._batch_size) * self._accumulation_steps

    def __iter__(self) -> Iterator[list[int]]:
        order = self._order()
        self.epoch += 1
        for begin in range(0, self._samples, self._batch_size):
            batch = order[begin : begin + self._batch_size]
            # The last batch may be smaller than the number of parts; no process may take fewer steps than the others.
            batch += islice(cycle(order), max(self._parts - len(batch), 0))
            own = share(batch, self._ranks, self._rank)
            for step in range(self._accumulation_steps):
                yield list(share(own, self._accumulation_steps, step))

    def _order(self) -> list[int]:
        if not self._shuffle:
            return list(range(self._samples))
        generator = torch.Generator().manual_seed(self._seed + self.epoch)
        order: list[int] = torch.randperm(self._samples, generator=generator).tolist()
        return order


def data_loader(
    trial: RunningTrial,
    dataset: Dataset[Any],
    *,
    accumulation_steps: int = 1,
    shuffle: bool = True,
    seed: int = 0,
    **options: Any,
) -> DataLoader[Any]:
    """Return a loader of this process's share of each global batch; no `DistributedSampler` is needed.

    Args:
        trial: The running trial.
        dataset: A map-style data set with a length.
        accumulation_steps: Number of batches into which each process splits its share; then the optimizer steps.
        shuffle: Whether each epoch has a random order.
        seed: Seed of that order; the same in all processes.
        options: Passed on to `DataLoader`, such as ``num_workers``.

    Raises:
        ConfigurationError: The batch size is smaller than the number of its parts, or there is no sample.
    """
    samples: int = len(dataset)  # type: ignore[arg-type, unused-ignore]
    batches = GlobalBatches(samples, trial, accumulation_steps=accumulation_steps, shuffle=shuffle, seed=seed)
    return DataLoader(dataset, batch_sampler=batches, **options)


def set_learning_rate(optimizer: Optimizer, learning_rate: float | None) -> None:
    """Set the learning rate; parameter groups with a learning rate of their own keep its ratio to the optimizer's.

    Args:
        optimizer: A new one, before a scheduler is made, which would go on from the old learning rate.
        learning_rate: Of the trial; None changes nothing.

    Raises:
        ConfigurationError: The optimizer has a scheduler already, or its own learning rate is 0.
    """
    if learning_rate is None:
        return
    if any("initial_lr" in group for group in optimizer.param_groups):
        raise ConfigurationError("Set the learning rate before the scheduler is made.")
    if not (base := float(optimizer.defaults["lr"])):
        raise ConfigurationError("The optimizer's own learning rate is 0: parameter groups have no ratio to it.")
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * (learning_rate / base)


def initial_learning_rates(optimizer: Any) -> list[float]:
    """Return the learning rate of each parameter group, as it was before any scheduler changed it."""
    return [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]


def restore_learning_rates(optimizer: Any, schedulers: Iterable[Any], initial: Sequence[float]) -> None:
    """Set the initial learning rates again that the state of a checkpoint has replaced.

    The schedulers go on from where they were, scaled to these rates.

    Args:
        optimizer: With the state of the checkpoint.
        schedulers: Its schedulers, with theirs.
        initial: One rate for each parameter group.
    """
    loaded = initial_learning_rates(optimizer)
    ratios = [new / old if old else 1.0 for new, old in zip(initial, loaded, strict=True)]
    if all(ratio == 1.0 for ratio in ratios):
        return
    _log.info("The learning rates of the checkpoint, %s, are replaced with the trial's, %s.", loaded, list(initial))
    for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
        for name in ("lr", "initial_lr", "max_lr", "min_lr"):
            if name in group:
                group[name] = group[name] * ratio
    for scheduler in schedulers:
        _scale(scheduler, ratios)


def _scale(scheduler: Any, ratios: Sequence[float]) -> None:
    for name in ("base_lrs", "max_lrs", "_last_lr"):
        if (rates := getattr(scheduler, name, None)) is not None:
            setattr(scheduler, name, [rate * ratio for rate, ratio in zip(rates, ratios, strict=True)])
    for one in getattr(scheduler, "_schedulers", ()):  # of a chain or a sequence
        _scale(one, ratios)


def check_loader(trial: RunningTrial, loader: Any, *, accumulation_steps: int = 1) -> None:
    """Check that a loader of your own has the trial's global batch size.

    Args:
        trial: The running trial.
        loader: A `DataLoader`; one without a ``batch_size`` is not checked.
        accumulation_steps: Batches of a process before the optimizer steps.

    Raises:
        ConfigurationError: It has another one, or all processes would train with the same samples.
    """
    per_device = getattr(loader, "batch_size", None)
    if per_device is None:
        return
    is_split = hasattr(loader.sampler, "num_replicas") or isinstance(loader.dataset, IterableDataset)
    if trial.world_size > 1 and not is_split:
        raise ConfigurationError(
            f"Each of the {trial.world_size} processes would train with all samples.",
            hint="Use rheostat.sdk.integrations.pytorch.data_loader, or a DistributedSampler.",
        )
    if (total := per_device * trial.world_size * accumulation_steps) != trial.batch_size:
        raise ConfigurationError(
            f"The loader's batch size of {per_device}, times {trial.world_size} processes, times {accumulation_steps}"
            f" accumulated batches, is {total}; the trial's is {trial.batch_size}.",
            hint="DataLoader's batch_size is that of one process: use trial.per_device_batch_size.",
        )
