"""By which settings a run trains: its own, or those that the job was registered with."""

import logging
from time import monotonic
from typing import Literal

from rheostat.errors import ConfigurationError, KeyReused, RheostatError, ServerRefused
from rheostat.schemas.server import JobSettings, JobUpdate, Target
from rheostat.schemas.trials import Trial
from rheostat.sdk.server import ServerClient, get_job_request, register_job_request, update_job_request

OnConflict = Literal["keep", "update"]
OnUsedKey = Literal["error", "new"]

_log = logging.getLogger("rheostat")


def agreed_settings(
    client: ServerClient, job_id: str, settings: JobSettings, on_conflict: OnConflict, within_seconds: float
) -> JobSettings:
    """Register a job, and return the settings by which the run trains: those that the server has from now on.

    Args:
        client: Client of the server.
        job_id: The job.
        settings: What the trainer asks for.
        on_conflict: What becomes of settings that differ from the registered ones: ``keep`` warns, and the run trains
            by the registered ones; ``update`` changes these, as far as they can be changed.
        within_seconds: How long all of it may take.

    Raises:
        ServerRefused: A setting is wrong.
        ServerUnreachable: The server does not answer in time.
    """
    give_up_at = monotonic() + within_seconds
    try:
        return client.send(register_job_request(job_id, settings), within_seconds=within_seconds).settings
    except ServerRefused as refused:
        if refused.server_code != "job_differs":
            raise
        conflict = refused
    try:
        known = client.send(get_job_request(job_id), within_seconds=give_up_at - monotonic()).settings
    except ServerRefused as refused:
        _log.warning("%s The registered ones cannot be read: %s", conflict.message, refused)
        return settings
    if on_conflict == "update":
        known = _updated(client, job_id, settings, known, give_up_at - monotonic())
    differing = [name for name in JobSettings.model_fields if getattr(settings, name) != getattr(known, name)]
    if differing:
        what = ", ".join(f"{name} {_shown(known, name)} instead of {_shown(settings, name)}" for name in differing)
        is_fixed = on_conflict == "update" or not set(differing) & set(JobUpdate.model_fields)
        remedy = (
            "these cannot be changed: register another job for them"
            if is_fixed
            else 'on_conflict="update" (rheostat run --on-conflict update) or `rheostat jobs set` changes the job'
        )
        _log.warning("The run trains by the registered settings of %s: %s; %s.", job_id, what, remedy)
    return known


def check_key(trial: Trial, idempotency_key: str | None) -> None:
    """Check that the trial of a key has not ended.

    Raises:
        KeyReused: It has.
    """
    if trial.state in ("running", "abandoned") or idempotency_key is None:
        return
    raise KeyReused(
        f"The key {idempotency_key!r} belongs to trial {trial.number} of {trial.job_id}, which has ended: "
        f"{trial.state}.",
        hint='Give every run a key of its own, or say on_used_key="new" (rheostat run --on-used-key new) to start a '
        "new trial under the same key.",
    )


def _updated(
    client: ServerClient, job_id: str, settings: JobSettings, known: JobSettings, within_seconds: float
) -> JobSettings:
    """Change the registered settings; batch sizes can only be added."""
    wanted = settings.model_copy(update={"batch_sizes": sorted({*known.batch_sizes, *settings.batch_sizes})})
    changes = {
        name: getattr(wanted, name) for name in JobUpdate.model_fields if getattr(wanted, name) != getattr(known, name)
    }
    if not changes:
        return known
    try:
        update = JobUpdate.model_validate(changes)
        return client.send(update_job_request(job_id, update), within_seconds=within_seconds).settings
    except ServerRefused as refused:
        _log.warning("The settings of %s cannot be changed: %s", job_id, refused)
    return known


def _shown(settings: JobSettings, name: str) -> str:
    value = getattr(settings, name)
    if isinstance(value, Target):
        return f"{value.metric}{'>=' if value.direction == 'maximize' else '<='}{value.value:g}"
    return str(value.model_dump(mode="json") if hasattr(value, "model_dump") else value)


def is_mistake(error: RheostatError) -> bool:
    """Return whether an error is the trainer's own, so that it is better told than trained on without the server."""
    return isinstance(error, KeyReused | ConfigurationError) or (
        isinstance(error, ServerRefused) and error.server_code in ("invalid_input", "idempotency_key_reused")
    )
