"""Idempotency keys that are used again: whether a request means the trial of its key, or a new one."""

from dataclasses import replace
from datetime import datetime

from rheostat.domain.job import Draft
from rheostat.domain.records import CONCLUDED, TrialRecord
from rheostat.schemas.trials import PredictRequest


def starts_anew(known: TrialRecord, request: PredictRequest, now: datetime) -> bool:
    """Return whether a new trial takes the key of a known one.

    One that has ended leaves its key where the request asks for that. One that crashed, or was lost, before its first
    epoch leaves it always: there is nothing to go on from, and its batch size may be what it crashes of.
    """
    return request.on_used_key == "new" if known.state in CONCLUDED else _is_lost(known, now)


def goes_on(known: TrialRecord, now: datetime) -> bool:
    """Return whether a trainer that asks by the key of a known trial goes on with it."""
    return known.state not in CONCLUDED and not _is_lost(known, now)


def _is_lost(known: TrialRecord, now: datetime) -> bool:
    is_silent = known.state == "running" and known.lease_expires_at < now and known.first_epoch_at is None
    return known.crashed_at is not None or (is_silent and not known.epochs)


def leave(draft: Draft, known: TrialRecord) -> None:
    """Take the key from a known trial."""
    draft.change_trial(known, replace(known, idempotency_key=None))
