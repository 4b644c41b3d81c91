"""What is refused of a trial's reports: what contradicts an earlier one, and figures that are no totals."""

from functools import partial
from operator import attrgetter

from rheostat.domain import energy, epochs
from rheostat.domain.history import History
from rheostat.domain.records import OPEN, ObservationRecord, TrialRecord
from rheostat.errors import FieldError, InvalidInput, ReportContradicts
from rheostat.schemas.trials import ObserveRequest


def check_same(known: ObservationRecord, request: ObserveRequest) -> None:
    """Check that a report repeats an earlier one of the same epoch.

    Raises:
        ReportContradicts: It has other figures.
    """
    fields = [
        FieldError(name, f"was {getattr(known, name)!r} in the first report")
        for name in epochs.differences(known, request)
    ]
    if fields:
        raise ReportContradicts(
            f"Epoch {request.epoch:g} was reported before, with another {fields[0].field}.",
            hint="A repeated report must be the same; the first one counts.",
            fields=fields,
        )


def check_cumulative(history: History, trial: TrialRecord, request: ObserveRequest) -> None:
    """Check that a report's totals lie between those of the epochs before and after it.

    Raises:
        InvalidInput: Energy or time is less than at an earlier epoch, or more than at a later one.
    """
    before: TrialRecord | ObservationRecord | None = trial
    after: ObservationRecord | None = None
    # An ended trial stays at the epoch of its end, however many reports come later.
    if trial.state not in OPEN or (trial.epochs is not None and request.epoch < trial.epochs):
        at = epochs.place(trial, request.epoch)
        before = history.observation_before(trial.trial_id, at)
        after = history.observation_after(trial.trial_id, at)
    fields = []
    for name, figure in (
        ("energy_joules", partial(energy.reported_alike, request)),
        ("time_seconds", attrgetter("time_seconds")),
    ):
        value = getattr(request, name)
        low, high = before and figure(before), after and figure(after)
        if value is not None and low is not None and value < low:
            fields.append(FieldError(name, f"must be at least {low!r}, what an earlier epoch reported"))
        if value is not None and high is not None and value > high:
            fields.append(FieldError(name, f"must be at most {high!r}, what a later epoch reported"))
    if fields:
        raise InvalidInput(
            f"{fields[0].field} must be the total since the trial began.",
            hint="Report totals of the whole trial, not figures of one epoch.",
            fields=fields,
        )
