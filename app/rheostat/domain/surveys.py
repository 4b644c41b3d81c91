"""Surveys: what a trainer should measure before a placement's first run, within a bound on all of it."""

from dataclasses import replace
from datetime import datetime

from rheostat.domain import control, keys
from rheostat.domain.evidence import enter
from rheostat.domain.history import History
from rheostat.domain.job import Decision, Draft, Job
from rheostat.domain.survey_sums import survey_sums
from rheostat.policy.interface import Situation
from rheostat.policy.surveys import NO_SURVEY, Survey
from rheostat.schemas.power import SurveyAnswer, SurveyRequest, SurveyStep


def survey(
    job: Job, history: History, request: SurveyRequest, now: datetime, idempotency_key: str | None = None
) -> Decision[SurveyAnswer]:
    """Return what is worth measuring next; a placement that is new is entered.

    A slice is so short that all that may be asked for fits in the job's ``survey_seconds``. A run that goes on under
    its idempotency key is not kept waiting.

    Raises:
        NoBatchSizeLeft: None fits the GPU's memory.
        NoPowerLimitFits: None of the job's power limits lies in the GPU's range.
        PolicyFailed: The policy raised.
    """
    draft = Draft(job)
    placement = enter(draft, history, request.gpu)
    view = job.view(placement, request.gpu)
    situation = Situation(
        permitted=job.permitted(placement, request.max_batch_size),
        pending=tuple(
            trial.batch_size
            for trial in job.running.values()
            if trial.placement == placement.key and trial.lease_expires_at >= now
        ),
    )
    budget = job.settings.survey_seconds
    left = max(budget - survey_sums(draft.survey.get(view)).time_seconds, 0.0)
    known = None if idempotency_key is None else history.trial_by_key(idempotency_key)
    if known is not None and keys.goes_on(known, now):
        wanted = replace(NO_SURVEY, reason=f"trial {known.number} goes on")
    elif (why := control.ends_exploring(job)) is not None:
        wanted = replace(NO_SURVEY, reason=why)
    elif left > 0.0:
        wanted = draft.advisor.survey(view, situation)
    elif budget:
        wanted = replace(NO_SURVEY, reason=f"the survey has taken the {budget:g} s that it may take")
    else:
        wanted = replace(NO_SURVEY, reason="the job wants no survey: its survey_seconds is 0")
    most_slices = len(situation.permitted) + len(view.power_limits_watts)
    return draft.decided(_answer(wanted, min(wanted.slice_seconds, budget / most_slices), left))


def _answer(wanted: Survey, slice_seconds: float, budget_seconds: float) -> SurveyAnswer:
    return SurveyAnswer(
        survey=[
            SurveyStep(batch_size=step.batch_size, power_limits_watts=list(step.power_limits_watts))
            for step in wanted.steps
        ],
        slice_seconds=slice_seconds,
        slice_epochs=wanted.slice_epochs,
        budget_seconds=budget_seconds,
        reason=wanted.reason,
    )
