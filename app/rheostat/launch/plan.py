"""What to run, as the user says it."""

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from rheostat.errors import ConfigurationError
from rheostat.launch.readings import pattern_reader
from rheostat.launch.templates import names_in
from rheostat.schemas.server import JobSettings


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, and how.

    Attributes:
        arguments: The command.
        metrics_file: File that it writes its metric to; may have placeholders.
        metric_pattern: What the lines of its output look like that tell the metric.
        first_epoch: The number that it gives its first epoch.
        stop_signal: What it is told to end with.
        stop_grace_seconds: How long it has to end then.
    """

    arguments: Sequence[str]
    metrics_file: str | None = None
    metric_pattern: str | None = None
    first_epoch: float = 1.0
    stop_signal: int = signal.SIGTERM
    stop_grace_seconds: float = 30.0


def check(settings: JobSettings, plan: Plan) -> None:
    """Find mistakes before anything begins.

    Raises:
        ConfigurationError: There is one.
    """
    if "learning_rate" in placeholders(plan) and settings.learning_rate is None:
        raise ConfigurationError(
            "The command has {learning_rate}, but the job names none.",
            hint="Give --learning-rate and --lr-scaling, or write {{learning_rate}} for the text itself.",
        )
    if settings.target is not None and plan.metrics_file is None and plan.metric_pattern is None:
        raise ConfigurationError(
            f"The job's target is {settings.target.metric!r}, but nothing tells it.",
            hint="Give --metric-pattern for lines of the output, or --metrics-file.",
        )
    if os.environ.get("WORLD_SIZE", "1") not in ("", "1"):
        raise ConfigurationError(
            "`rheostat run` was started by a launcher of several processes.",
            hint="Put it around the launcher: rheostat run ... -- torchrun ...",
        )
    if plan.metric_pattern is not None:
        pattern_reader(plan.metric_pattern)


def placeholders(plan: Plan) -> set[str]:
    """Return which placeholders are used."""
    return names_in([*plan.arguments, plan.metrics_file or ""])
