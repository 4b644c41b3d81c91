"""Jobs and trials as Zeus's batch size optimizer server names them: the mapping to ours and back, and nothing else.

A job there is a job here with all its settings, what has no place among them in `zeus`. Its trials are ours, by their
numbers; all of them run on the GPUs that the job was registered with.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeVar

from rheostat.domain import registration, trials
from rheostat.domain.history import History
from rheostat.domain.job import Decision, Job, stored_settings
from rheostat.domain.records import OPEN, TrialRecord
from rheostat.errors import JobDiffers, JobNotFound, ReportContradicts, TrialNotFound
from rheostat.policy.published import ZEUS
from rheostat.schemas.fields import MAX_METRIC, MAX_WATTS
from rheostat.schemas.server import Gpu, JobSettings, Target
from rheostat.schemas.trials import ObserveRequest, PredictRequest
from rheostat.schemas.zeus import ZeusJob, ZeusReport, ZeusSettings, ZeusTrial, ZeusVerdict

A = TypeVar("A")

_TARGET = "metric"
"""The peer's client does not name its target metric."""


class Registered(NamedTuple):
    """A registered job: how the wire shows it, whether it is new, and its policy."""

    job: ZeusJob
    is_new: bool
    policy: str


def settings_of(job: ZeusJob, policy: str) -> JobSettings:
    """Return the settings of a job that is registered under `/zeus`."""
    direction: Literal["maximize", "minimize"] = "maximize" if job.higher_is_better_metric else "minimize"
    return JobSettings(
        zeus=ZeusSettings(**job.model_dump(include=set(ZeusSettings.model_fields))),
        batch_sizes=job.batch_sizes,
        default_batch_size=job.default_batch_size,
        eta_knob=job.eta_knob,
        beta_knob=job.beta_knob,
        target=Target(metric=_TARGET, value=job.target_metric, direction=direction),
        max_epochs=job.max_epochs,
        window_size=job.window_size,
        seed=job.mab_seed,
        policy=policy,
    )


def wire_job(job: Job) -> ZeusJob:
    """Return a job as the wire of `/zeus` shows it, with its settings as they are now.

    Raises:
        JobNotFound: It was not registered there.
    """
    settings = job.settings
    target = settings.target or stored_settings(job.registered_settings).target
    return ZeusJob(
        **_zeus(job).model_dump(),
        job_id=job.job_id,
        batch_sizes=settings.batch_sizes,
        default_batch_size=settings.default_batch_size,
        eta_knob=settings.eta_knob,
        beta_knob=settings.beta_knob,
        **({} if target is None else _wire_target(target)),
        max_epochs=settings.max_epochs,
        window_size=settings.window_size,
        mab_seed=settings.seed,
    )


def register(job_id: str, wanted: ZeusJob, policy: str | None, seed: int, now: datetime) -> Decision[Registered]:
    """Register a new job.

    Raises:
        InvalidInput: There is no such policy.
    """
    job = registration.new_job(job_id, settings_of(wanted, policy or ZEUS), seed, now)
    return _answering(registration.register(job), Registered(wire_job(job), True, job.settings.policy))


def register_again(job: Job, wanted: ZeusJob) -> Decision[Registered]:
    """Find a job registered with the same settings, whatever its policy is.

    Raises:
        JobDiffers: It is registered with other settings, or the id was made for a new job.
    """
    if wanted.job_id is None:
        raise JobDiffers(f"The id {job.job_id} was made for a new job, but is in use.", hint="Try again.")
    settings = settings_of(wanted, job.settings.policy)
    if settings != job.settings:
        settings = settings_of(wanted, stored_settings(job.registered_settings).policy)
    decision = registration.register_again(job, settings)
    return _answering(decision, Registered(wire_job(job), False, job.settings.policy))


def predict(job: Job, history: History, *, trial_id: str, clock: trials.Clock) -> Decision[ZeusTrial]:
    """Make a trial; see :func:`rheostat.domain.trials.predict` for what it raises besides.

    Raises:
        JobNotFound: The job was not registered under `/zeus`.
    """
    request = PredictRequest(gpu=_gpu(_zeus(job)))
    decision = trials.predict(job, history, request, trial_id=trial_id, idempotency_key=None, clock=clock)
    made = decision.answer
    return _answering(decision, ZeusTrial(job_id=job.job_id, batch_size=made.batch_size, trial_number=made.number))


def report(job: Job, history: History, wanted: ZeusReport, clock: trials.Clock) -> Decision[ZeusVerdict]:
    """Take a report of a trial; see :func:`rheostat.domain.trials.observe` for what it raises besides.

    Every rank of a training may report an epoch, each with figures of its own: the first one counts.

    Raises:
        TrialNotFound: The job has no such trial.
    """
    trial = _trial(job, history, wanted)
    if trial.state not in OPEN:
        return Decision(_verdict_of_ended(trial), job)
    is_evaluated = abs(wanted.metric) <= MAX_METRIC
    request = ObserveRequest(
        epoch=float(wanted.current_epoch),
        metric=wanted.metric if is_evaluated else None,
        diverged=not is_evaluated,
        energy_joules=wanted.energy,
        time_seconds=wanted.time,
        started_at_epoch=0.0,
    )
    try:
        decision = trials.observe(job, history, trial.trial_id, request, clock)
    except ReportContradicts:
        renewed = trials.renew_lease(job, history, trial.trial_id, clock)
        return _answering(renewed, _verdict("running", f"Epoch {wanted.current_epoch} was reported before."))
    return _answering(decision, _verdict(decision.answer.state, decision.answer.reason))


def end_trial(job: Job, history: History, wanted: ZeusTrial, clock: trials.Clock) -> Decision[None]:
    """End a trial whose trainer has left; one without a result teaches nothing.

    Raises:
        TrialNotFound: The job has no such trial.
    """
    trial = _trial(job, history, wanted)
    if trial.state not in OPEN:
        return Decision(None, job)
    request = ObserveRequest(
        epoch=(trial.epochs or 0.0) - (trial.epoch_shift or 0.0),
        outcome="cancelled",
        detail="it left before the run had a result",
    )
    return _answering(trials.observe(job, history, trial.trial_id, request, clock), None)


def _answering(decision: Decision[Any], answer: A) -> Decision[A]:
    return replace(decision, answer=answer)


def _zeus(job: Job) -> ZeusSettings:
    if job.settings.zeus is None:
        raise JobNotFound(
            f"{job.job_id} was not registered under /zeus, so that its GPUs are unknown.",
            hint="Register it here under another id, or use the routes under /v1.",
        )
    return job.settings.zeus


def _gpu(zeus: ZeusSettings) -> Gpu:
    """Return the GPUs of a job: the client sets the power limits itself, so that none are to be chosen here."""
    watts = min(max(round(zeus.max_power / zeus.number_of_gpus), 1), MAX_WATTS)
    return Gpu(model=zeus.gpu_model, count=zeus.number_of_gpus, enforced_limit_watts=watts)


def _wire_target(target: Target) -> dict[str, Any]:
    return {"target_metric": target.value, "higher_is_better_metric": target.direction == "maximize"}


def _trial(job: Job, history: History, wanted: ZeusTrial) -> TrialRecord:
    number = wanted.trial_number
    trial = next((one for one in job.running.values() if one.number == number), None) or history.trial_numbered(number)
    if trial is None or trial.batch_size != wanted.batch_size:
        raise TrialNotFound(
            f"{job.job_id} has no trial {number} with batch size {wanted.batch_size}.",
            hint="Trials come from GET /zeus/jobs/batch_size.",
        )
    return trial


def _verdict(state: str, message: str) -> ZeusVerdict:
    return ZeusVerdict(stop_train=state != "running", converged=state == "converged", message=message)


def _verdict_of_ended(trial: TrialRecord) -> ZeusVerdict:
    return _verdict(
        trial.state,
        f"The result of trial {trial.number} is already reported. It ended as {trial.state}: {trial.state_reason}",
    )
