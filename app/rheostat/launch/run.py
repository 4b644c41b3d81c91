"""Runs a command as a trial."""

import logging
import os
from collections.abc import Mapping
from hashlib import sha256
from uuid import uuid4

from rheostat.errors import ConfigurationError
from rheostat.launch.endings import CommandEnded
from rheostat.launch.plan import OUTPUT, LaunchPlan, placeholders
from rheostat.launch.supervisor import Supervisor
from rheostat.launch.templates import NAMES
from rheostat.schemas.server import JobSettings
from rheostat.sdk.trial import RunningTrial

_log = logging.getLogger(__name__)


def run_trial(trial: RunningTrial, job_id: str, settings: JobSettings, plan: LaunchPlan) -> int:
    """Run the command in a trial that is not entered yet; return the exit code.

    Raises:
        RheostatError: The run cannot begin.
    """
    try:
        with trial:
            _log.info("batch size %d: %s", trial.batch_size, trial.reason)
            values = _values(trial, settings, plan)
            return Supervisor(trial, settings, plan, values).run(_environment(trial, job_id, plan, values))
    except CommandEnded as ended:
        _log.warning("%s", ended)
        return ended.exit_code


def _values(trial: RunningTrial, settings: JobSettings, plan: LaunchPlan) -> dict[str, str]:
    """Return the values of the placeholders."""
    name = trial.trial_id or f"local-{uuid4().hex}"
    share, rest = divmod(trial.batch_size, trial.gpu_count)
    if rest and "per_device_batch_size" in placeholders(plan):
        raise ConfigurationError(
            f"A batch size of {trial.batch_size} cannot be split equally over {trial.gpu_count} GPUs.",
            hint=f"Give the job batch sizes that are multiples of {trial.gpu_count}.",
        )
    values = {
        "batch_size": str(trial.batch_size),
        "epochs": str(settings.max_epochs),
        "seed": str(int.from_bytes(sha256(name.encode()).digest()[:4]) >> 1),
        "trial_id": name,
    }
    if not rest:
        values["per_device_batch_size"] = str(share)
    if trial.learning_rate is not None:
        values["learning_rate"] = repr(trial.learning_rate)
    return values


def _environment(trial: RunningTrial, job_id: str, plan: LaunchPlan, values: Mapping[str, str]) -> dict[str, str]:
    ours = {f"RHEOSTAT_{name.upper()}": values.get(name) for name in NAMES}
    ours |= {
        "RHEOSTAT_JOB_ID": job_id,
        "RHEOSTAT_TRIAL_ID": trial.trial_id,
        "RHEOSTAT_POWER_LIMIT_WATTS": None if trial.power_limit_watts is None else str(trial.power_limit_watts),
    }
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    if plan.metric_pattern is not None or plan.metrics_file == OUTPUT:
        # Python writes into a pipe in blocks, so that the metric would come too late to end a run in time.
        inherited.setdefault("PYTHONUNBUFFERED", "1")
    return inherited | {name: value for name, value in ours.items() if value is not None}
