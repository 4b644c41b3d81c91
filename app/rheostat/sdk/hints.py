"""Warnings of a trainer that does with a trial what cannot be meant."""

import logging

_log = logging.getLogger("rheostat")


def check_loader(loader: object, batch_size: int, per_device: int) -> None:
    """Warn of a loader, as PyTorch's, that says that its batches have another size than the trial has."""
    given = getattr(loader, "batch_size", None)
    if isinstance(given, int) and given not in (batch_size, per_device):
        _log.warning(
            "The loader has batches of %d, and this run is to train with %d: build it with trial.batch_size, unless "
            "several batches make one step.",
            given,
            batch_size,
        )


def check_profiled(unmeasured_watts: tuple[int, ...]) -> None:
    """Warn of power limits that were to be measured, and that the trainer gave no chance to."""
    if unmeasured_watts:
        _log.warning(
            "No power limit was measured, because no step was seen: iterate over trial.steps(loader) instead of the "
            "loader."
        )
