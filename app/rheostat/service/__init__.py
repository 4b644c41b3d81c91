"""The use cases: one function each, one transaction each.

Every function takes a :class:`~rheostat.service.context.Service` first and wire models of ``rheostat.schemas.server``,
and answers with them. The way is always the same: lock the job's row, load what is needed, ask the pure policy,
save, answer.
"""

from rheostat.service.context import Service
from rheostat.service.insight import estimates, savings
from rheostat.service.jobs import (
    delete_job,
    get_job,
    list_jobs,
    rebuild_job,
    register_job,
    update_job,
)
from rheostat.service.power import observe_power_limit, predict_power_limit
from rheostat.service.predict import predict, to_predict
from rheostat.service.runs import observe_run
from rheostat.service.trials import get_trial, heartbeat, list_trials, observe, to_heartbeat, to_observe

__all__ = [
    "Service",
    "delete_job",
    "estimates",
    "get_job",
    "get_trial",
    "heartbeat",
    "list_jobs",
    "list_trials",
    "observe",
    "observe_power_limit",
    "observe_run",
    "predict",
    "predict_power_limit",
    "rebuild_job",
    "register_job",
    "savings",
    "to_heartbeat",
    "to_observe",
    "to_predict",
    "update_job",
]
