"""Runs a command as a trial."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from uuid import uuid4

from rheostat.errors import ConfigurationError
from rheostat.launch.endings import CommandEnded
from rheostat.launch.plan import OUTPUT, LaunchPlan, check, placeholders, unused_batch_size
from rheostat.launch.supervisor import Supervisor
from rheostat.launch.survey import CommandSteps
from rheostat.launch.templates import NAMES, fill
from rheostat.schemas.server import JobSettings
from rheostat.sdk.trial import RunningTrial

_log = logging.getLogger(__name__)


def run_trial(trial: RunningTrial, job_id: str, settings: JobSettings, plan: LaunchPlan) -> int:
    """Run the command in a trial that is not entered yet; return the exit code.

    Raises:
        RheostatError: The run cannot begin.
    """
    # Of a single batch size limits are measured in the run itself, which costs no start of the command.
    if plan.step_pattern is not None and len(settings.batch_sizes) > 1:
        trial.survey_by(partial(CommandSteps, partial(_survey_command, trial, job_id, plan), plan))
    try:
        with trial:
            _log.info("batch size %d: %s", trial.batch_size, trial.reason)
            if trial.settings != settings:
                settings = trial.settings
                check(settings, plan)
            if (warning := unused_batch_size(settings, plan)) is not None:
                _log.warning("%s", warning)
            name = trial.trial_id or f"local-{uuid4().hex}"
            what = _What(trial.batch_size, trial.learning_rate, trial.gpu_count, name)
            values = _values(what, settings, plan)
            return Supervisor(trial, settings, plan, values).run(_environment(trial, job_id, plan, values))
    except CommandEnded as ended:
        _log.warning("%s", ended)
        return ended.exit_code


def _survey_command(
    trial: RunningTrial, job_id: str, plan: LaunchPlan, batch_size: int
) -> tuple[list[str], dict[str, str]]:
    """Return the arguments and the environment of the command in a survey."""
    learning_rate = trial.settings.learning_rate_for(batch_size)
    what = _What(batch_size, learning_rate, trial.gpu_count, f"survey-{uuid4().hex}")
    values = _values(what, trial.settings, plan)
    environment = {"PYTHONUNBUFFERED": "1", **_environment(trial, job_id, plan, values), "RHEOSTAT_SURVEY": "1"}
    return [fill(argument, values) for argument in plan.arguments], environment


@dataclass(frozen=True, slots=True)
class _What:
    """What the command is to train with, and the name of the run."""

    batch_size: int
    learning_rate: float | None
    gpus: int
    name: str


def _values(what: _What, settings: JobSettings, plan: LaunchPlan) -> dict[str, str]:
    """Return the values of the placeholders."""
    share, rest = divmod(what.batch_size, what.gpus)
    if rest and "per_device_batch_size" in placeholders(plan):
        raise ConfigurationError(
            f"A batch size of {what.batch_size} cannot be split equally over {what.gpus} GPUs.",
            hint=f"Give the job batch sizes that are multiples of {what.gpus}.",
        )
    values = {
        "batch_size": str(what.batch_size),
        "epochs": str(settings.max_epochs),
        "seed": str(int.from_bytes(sha256(what.name.encode()).digest()[:4]) >> 1),
        "trial_id": what.name,
    }
    if not rest:
        values["per_device_batch_size"] = str(share)
    if what.learning_rate is not None:
        values["learning_rate"] = repr(what.learning_rate)
    return values


def _environment(trial: RunningTrial, job_id: str, plan: LaunchPlan, values: Mapping[str, str]) -> dict[str, str]:
    ours = {f"RHEOSTAT_{name.upper()}": values.get(name) for name in NAMES}
    ours |= {
        "RHEOSTAT_JOB_ID": job_id,
        "RHEOSTAT_TRIAL_ID": trial.trial_id,
        "RHEOSTAT_POWER_LIMIT_WATTS": None if trial.power_limit_watts is None else str(trial.power_limit_watts),
    }
    inherited = {name: value for name, value in os.environ.items() if name not in (*ours, "RHEOSTAT_SURVEY")}
    if plan.metric_pattern is not None or plan.metrics_file == OUTPUT:
        # Python writes into a pipe in blocks, so that the metric would come too late to end a run in time.
        inherited.setdefault("PYTHONUNBUFFERED", "1")
    return inherited | {name: value for name, value in ours.items() if value is not None}
