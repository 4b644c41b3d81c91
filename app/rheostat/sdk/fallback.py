"""What a run does without a server: the defaults of its job, to the target or to its last epoch."""

from math import sqrt

from rheostat.schemas.server import JobSettings


def default_batch_size(settings: JobSettings, max_batch_size: int | None) -> int:
    """Return the default, or the largest batch size that still fits when the default does not."""
    if max_batch_size is None or settings.default_batch_size <= max_batch_size:
        return settings.default_batch_size
    return max((size for size in settings.batch_sizes if size <= max_batch_size), default=max_batch_size)


def learning_rate(settings: JobSettings, batch_size: int) -> float | None:
    """Return the learning rate for a batch size, as the server would."""
    if settings.learning_rate is None:
        return None
    ratio = batch_size / settings.default_batch_size
    scale = {"linear": ratio, "sqrt": sqrt(ratio), "none": 1.0}[settings.learning_rate.scaling]
    return settings.learning_rate.default * scale


def has_reached(settings: JobSettings, metric: float | None) -> bool:
    """Whether a metric is at the target."""
    target = settings.target
    if target is None or metric is None:
        return False
    return metric >= target.value if target.direction == "maximize" else metric <= target.value
