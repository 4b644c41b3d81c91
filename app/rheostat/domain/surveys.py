"""Surveys: what a trainer should measure before a placement's first run, and learning from it."""

from dataclasses import replace

from rheostat.domain.evidence import power_measurement
from rheostat.domain.job import Decision, Draft, Job
from rheostat.domain.records import PowerMeasurementRecord
from rheostat.policy.interface import Situation, Survey
from rheostat.schemas.server import Gpu


def survey(job: Job, gpu: Gpu, max_batch_size: int | None = None) -> Decision[Survey]:
    """Return what is worth measuring next; a placement that is new is entered.

    Raises:
        NoBatchSizeLeft: None fits the GPU's memory.
        NoPowerLimitFits: None of the job's power limits lies in the GPU's range.
        PolicyFailed: The policy raised.
    """
    draft = Draft(job)
    placement = draft.enter(gpu)
    situation = Situation(
        permitted=job.permitted(placement, max_batch_size),
        pending=tuple(trial.batch_size for trial in job.running.values() if trial.placement == placement.key),
    )
    return draft.decided(draft.advisor.survey(job.view(placement, gpu), situation))


def fold_survey(draft: Draft, record: PowerMeasurementRecord) -> None:
    """Let the policy learn from a slice of a survey.

    Raises:
        PolicyFailed: The policy raised.
    """
    view = draft.view(draft.placement(record.placement))
    draft.advisor.measure(view, record.batch_size, replace(power_measurement(view, record), surveyed=True))
