"""The use cases, one function each: a change of a job, or a query, and nothing else.

Every function takes a :class:`~rheostat.service.context.Service` first and wire models of ``rheostat.schemas.server``.
One that reads returns its answer. One that changes a job returns the future of a
:class:`~rheostat.domain.job.Decision`: its answer and what happened, once both are durable.
"""

from rheostat.domain.events import Event, PolicyFailureTolerated, TrialEnded, TrialStarted
from rheostat.domain.job import Decision
from rheostat.service.context import Service
from rheostat.service.control import force_job, pause_job, pin_job, resume_job, unforce_job, unpin_job
from rheostat.service.jobs import (
    delete_job,
    estimates,
    get_job,
    list_jobs,
    rebuild_job,
    register_job,
    savings,
    update_job,
)
from rheostat.service.power import observe_power_limit, predict_power_limit, survey
from rheostat.service.trials import get_trial, heartbeat, list_trials, observe, observe_run, predict
from rheostat.storage.queries import Counts

__all__ = [
    "Counts",
    "Decision",
    "Event",
    "PolicyFailureTolerated",
    "Service",
    "TrialEnded",
    "TrialStarted",
    "delete_job",
    "estimates",
    "force_job",
    "get_job",
    "get_trial",
    "heartbeat",
    "list_jobs",
    "list_trials",
    "observe",
    "observe_power_limit",
    "observe_run",
    "pause_job",
    "pin_job",
    "predict",
    "predict_power_limit",
    "rebuild_job",
    "register_job",
    "resume_job",
    "savings",
    "survey",
    "unforce_job",
    "unpin_job",
    "update_job",
]
