"""The client that a trainer opens: the operations of the server, and the context of one run."""

import os
from collections.abc import Mapping
from functools import partial
from math import isfinite
from socket import gethostname
from typing import TYPE_CHECKING

from rheostat.errors import ConfigurationError
from rheostat.schemas.review import Observation
from rheostat.schemas.server import Gpu, JobDetail, JobSettings
from rheostat.schemas.trials import TrialDetail
from rheostat.sdk.agreement import OnConflict, OnUsedKey
from rheostat.sdk.frames import all_pages, frame_of
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.options import TrialOptions
from rheostat.sdk.run_gpus import NamedGpus
from rheostat.sdk.server import ServerClient
from rheostat.sdk.tags import checked_tags
from rheostat.sdk.trainer_steps import StepsAt, TrainerSteps
from rheostat.sdk.trial import RunningTrial

if TYPE_CHECKING:
    import pandas as pd

ANSWER_VARIABLE = "RHEOSTAT_ANSWER_SECONDS"
_ANSWER_SECONDS = 2.0


class Client(ServerClient):
    """Client of a Rheostat server, for trainers; see :class:`rheostat.sdk.server.ServerClient`.

    Args:
        base_url: As there.
        timeout_seconds: As there. The entry of a trial takes no longer than this, or than the time for retries.
        retry_for_seconds: As there.
        token: As there.
        answer_seconds: How long a report may wait for the server's answer, and the end of a trial for the server; by
            default ``RHEOSTAT_ANSWER_SECONDS``, else 2.

    Raises:
        ConfigurationError: As there, or the time to wait is not a number.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        timeout_seconds: float = 10.0,
        retry_for_seconds: float = 10.0,
        token: str | None = None,
        answer_seconds: float | None = None,
    ) -> None:
        super().__init__(base_url, timeout_seconds=timeout_seconds, retry_for_seconds=retry_for_seconds, token=token)
        self._arguments["answer_seconds"] = answer_seconds
        self._answer_seconds = _answer_seconds_of_environment() if answer_seconds is None else answer_seconds
        self._entry_seconds = max(timeout_seconds, retry_for_seconds)

    def trial(
        self,
        job_id: str,
        settings: JobSettings,
        gpu: Gpu | None = None,
        *,
        gpus: NamedGpus = None,
        node: str | None = None,
        max_batch_size: int | None = None,
        idempotency_key: str | None = None,
        resumes: str | None = None,
        started_at_epoch: float | None = None,
        on_conflict: OnConflict = "keep",
        on_used_key: OnUsedKey = "error",
        node_agent: NodeAgent | None = None,
        survey: StepsAt | None = None,
        examples_per_epoch: float | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> RunningTrial:
        """Return the context of one run of a job; see :class:`rheostat.sdk.trial.RunningTrial`.

        Args:
            job_id: The job, registered on entry.
            settings: What it asks of Rheostat.
            gpu: Description of the GPUs of this run; by default that of the node's agent.
            gpus: UUIDs or numbers of this process's GPUs; by default ``RHEOSTAT_GPUS``, else the one that PyTorch uses,
                else the first that CUDA shows; with ``"visible"`` all that ``CUDA_VISIBLE_DEVICES`` names.
            node: Where it runs, for the list of trials; by default the host's name.
            max_batch_size: Largest batch size that this node can train with.
            idempotency_key: Identifies this run, so that a restarted trainer gets the same trial again and goes on
                with its totals.
            resumes: The trial that this run goes on from by a checkpoint: its id, or its key.
            started_at_epoch: Epochs that the model has done before, from a checkpoint of a run that is no trial, or an
                unknown one; see also :meth:`rheostat.sdk.trial.RunningTrial.resumed_at`.
            on_conflict: What becomes of settings that differ from the registered ones: ``keep`` trains by the
                registered ones, with a warning; ``update`` changes the job, which needs a token with scope ``admin``.
            on_used_key: What a key means whose trial has ended: an ``error``, or a ``new`` trial that takes the key.
            node_agent: The node's agent; by default the one in ``RHEOSTAT_AGENT_DIR``, if one is there.
            survey: Returns an iterator of training steps at a batch size, with a model and an optimizer of its own, to
                throw away. Before the job's first run on these GPUs, it measures for some seconds what steps of each
                batch size cost. It is not called with several ranks, nor in a copy of the trial in another process.
            examples_per_epoch: Size of the data set, in the unit of the batch size, by which a survey and reports of
                steps know how long an epoch is.
            tags: What else the run is known by, as ``{"mlflow_run": "https://mlflow/runs/7"}``: shown with it, and
                searchable.

        Raises:
            ConfigurationError: The tags are too many, or not text.
        """
        options = TrialOptions(
            gpu=gpu,
            gpus=gpus,
            node=node or gethostname()[:128] or None,
            max_batch_size=max_batch_size,
            idempotency_key=idempotency_key,
            resumes=resumes,
            started_at_epoch=started_at_epoch,
            node_agent=node_agent,
            on_conflict=on_conflict,
            on_used_key=on_used_key,
            answer_seconds=self._answer_seconds,
            entry_seconds=self._entry_seconds,
            survey=None if survey is None else partial(TrainerSteps, survey),
            examples_per_epoch=examples_per_epoch,
            tags=checked_tags(tags),
        )
        return RunningTrial(self, job_id, settings, options)

    def jobs_frame(self) -> "pd.DataFrame":
        """Return all jobs as a data frame, which needs pandas."""
        return frame_of(JobDetail, all_pages(lambda at: self.list_jobs(limit=200, cursor=at), "jobs"))

    def trials_frame(self, job_id: str) -> "pd.DataFrame":
        """Return all trials of a job as a data frame, newest first, which needs pandas."""
        pages = all_pages(lambda at: self.list_trials(job_id, limit=200, cursor=at), "trials")
        return frame_of(TrialDetail, pages)

    def observations_frame(self, trial_id: str) -> "pd.DataFrame":
        """Return all reports of a trial as a data frame, which needs pandas."""
        pages = all_pages(lambda at: self.list_observations(trial_id, limit=200, cursor=at), "observations")
        return frame_of(Observation, pages)


def _answer_seconds_of_environment() -> float:
    text = os.environ.get(ANSWER_VARIABLE) or str(_ANSWER_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not (isfinite(seconds) and seconds >= 0):
        raise ConfigurationError(f"{ANSWER_VARIABLE} is {text!r}.", hint="Give seconds, as 2 or 0.5.")
    return seconds
