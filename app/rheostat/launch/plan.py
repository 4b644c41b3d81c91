"""What to run: the user's command and how to read its metric."""

import re
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rheostat.errors import ConfigurationError
from rheostat.launch.patterns import compiled, pattern_reader
from rheostat.launch.steps import StepReader
from rheostat.launch.templates import misspelt_in, names_in
from rheostat.schemas.server import JobSettings
from rheostat.sdk.ranks import has_launcher

OUTPUT = "-"
"""As a metrics file: JSON and printed dictionaries in the command's output."""

_VARIABLES = re.compile(rb"RHEOSTAT_(?:PER_DEVICE_)?BATCH_SIZE")
_MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class LaunchPlan:
    """What to run, and how.

    Attributes:
        arguments: The command.
        metrics_file: File that it writes its metric to, or `OUTPUT`; may have placeholders.
        metric_pattern: Regular expression of the lines of output that have the metric.
        first_epoch: The number that it gives its first epoch; None: 0 or 1.
        stop_signal: The signal that asks it to end.
        stop_grace_seconds: Time from then to SIGKILL.
        step_pattern: Regular expression of the lines of output that tell of a training step; None: there is no survey,
            and none of the steps is measured.
        oom_patterns: Regular expressions of lines of output that say that memory ran out, besides the known ones.
        examples_per_epoch: Size of the data set; None: unknown.
    """

    arguments: Sequence[str]
    metrics_file: str | None = None
    metric_pattern: str | None = None
    first_epoch: float | None = None
    stop_signal: int = signal.SIGTERM
    stop_grace_seconds: float = 30.0
    step_pattern: str | None = None
    oom_patterns: Sequence[str] = ()
    examples_per_epoch: float | None = None

    def steps_per_epoch(self, batch_size: int) -> float | None:
        """Return how many of what `metric_pattern` counts make an epoch; None: it counts epochs."""
        has_steps = "{step}" in (self.metric_pattern or "")
        return self.examples_per_epoch / batch_size if has_steps and self.examples_per_epoch else None

    @property
    def is_silent(self) -> bool:
        """Whether nothing of the command's progress can be seen."""
        return self.metrics_file is None and self.metric_pattern is None and self.step_pattern is None


def check(settings: JobSettings, plan: LaunchPlan) -> None:
    """Check the plan against the job's settings.

    Raises:
        ConfigurationError: They do not fit.
    """
    if "learning_rate" in placeholders(plan) and settings.learning_rate is None:
        raise ConfigurationError(
            "The command has {learning_rate}, but the job has no learning rate.",
            hint="Give --learning-rate and --lr-scaling, or write {{learning_rate}} for the text itself.",
        )
    if settings.target is not None and plan.metrics_file is None and plan.metric_pattern is None:
        metric = settings.target.metric
        raise ConfigurationError(
            f"The job's target metric is {metric!r}, but no option says where to read it.",
            hint=f"Give --metric-pattern '{metric}={{metric}}' for lines of the output, or --metrics-file.",
        )
    if "tfevents" in (plan.metrics_file or ""):
        raise ConfigurationError(
            f"--metrics-file {plan.metrics_file} is a TensorBoard event file, which is not read.",
            hint="Print the metric and give --metric-pattern, or write JSON lines or CSV beside it.",
        )
    if has_launcher():
        raise ConfigurationError(
            "`rheostat run` was started by a launcher of several processes.",
            hint="Put it around the launcher: rheostat run ... -- torchrun ...",
        )
    if "{step}" in (plan.metric_pattern or "") and plan.examples_per_epoch is None:
        raise ConfigurationError(
            "The --metric-pattern has {step}, but it is not known how many steps an epoch has.",
            hint="Give --examples-per-epoch, the size of the data set.",
        )
    if plan.metric_pattern is not None:
        pattern_reader(plan.metric_pattern)
    if plan.step_pattern is not None:
        StepReader(plan.step_pattern)
    for pattern in plan.oom_patterns:
        compiled("--oom-pattern", pattern)


def check_without_batch_size(plan: LaunchPlan) -> None:
    """Check that a command needs no batch size, where none was given.

    Raises:
        ConfigurationError: It does.
    """
    if {"batch_size", "per_device_batch_size"} & placeholders(plan):
        raise ConfigurationError(
            "The command asks for a batch size, and --power-only leaves it as it is.",
            hint="Give --default-batch-size, or write the number into the command.",
        )


def placeholders(plan: LaunchPlan) -> set[str]:
    """Return which placeholders are used."""
    return names_in([*plan.arguments, plan.metrics_file or ""])


def unused_batch_size(settings: JobSettings, plan: LaunchPlan) -> str | None:
    """Return a warning of a command that does not seem to train with the batch size that it is given; None: it does.

    Such a command trains every time with the same one, and the job learns that its batch sizes do not differ.
    """
    used = placeholders(plan)
    if len(settings.batch_sizes) == 1 or used & {"batch_size", "per_device_batch_size"}:
        return None
    for word, meant in misspelt_in(plan.arguments).items():
        return f"The command has {{{word}}}, which is no placeholder: did you mean {{{meant}}}?"
    if any(_names_variable(argument) for argument in plan.arguments):
        return None
    return (
        "The command has no {batch_size}: unless it reads RHEOSTAT_BATCH_SIZE by itself, every run has the same batch "
        "size, whatever is chosen. Write it among the arguments, as: -- python train.py --batch-size {batch_size}"
    )


def _names_variable(argument: str) -> bool:
    """Return whether an argument, or the program that it names, reads the batch size from the environment."""
    if _VARIABLES.search(argument.encode()):
        return True
    with suppress(OSError, ValueError), Path(argument).open("rb") as file:
        return _VARIABLES.search(file.read(_MOST_BYTES)) is not None
    return False
