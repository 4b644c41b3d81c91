"""How many epochs a trial has run, whatever its trainer counts from and however often it was started again.

A report names an epoch as its trainer counts. What is kept is the epoch of the model, counted from 1:

- A trainer that counts from 0 reports epoch 0 after its first epoch: ``epoch_shift`` is 1. A report of epoch 0 may be
  an evaluation before training as well. The next report tells the two apart, by the time that lies before each.
- A trainer that goes on from a checkpoint begins at epoch ``started_at_epoch``; it says so, or its second report shows
  it. Its trial has run the epochs since then, and is no evidence of how many epochs its batch size needs.
- A trial that is restarted may run epochs again: ``repeated_epochs`` counts them, None where it never was. Its first
  report after a restart (``is_restarted``) shows where it went on.
"""

from collections.abc import Callable
from dataclasses import replace
from math import inf, nextafter
from typing import Protocol

from rheostat.domain.history import History
from rheostat.domain.plausibility import joined
from rheostat.domain.records import OPEN, ObservationRecord, TrialRecord
from rheostat.errors import FieldError, InvalidInput
from rheostat.policy.interface import Job
from rheostat.policy.learning_curve import LearningCurve, Target
from rheostat.schemas.trials import ObserveRequest

COUNTS_FROM_0 = "The trainer counts its epochs from 0: its epoch 0 counts as epoch 1, and so on."

# Start-up and evaluation make the time before a report longer, and slower power limits that of later epochs.
_LEAST_SHARE = 0.5
_LEAST_SHARE_OF_EXPECTED = 0.25
_LEAST_SHARE_FROM_SCRATCH = 0.75
_EVEN = 1.25

EpochCost = Callable[[], float | None]
"""Returns what an epoch of the trial's batch size is expected to cost; None: nobody knows."""


class Ran(Protocol):
    """What is recorded of the epochs of a trial, as in :class:`rheostat.domain.records.TrialRecord`."""

    @property
    def epochs(self) -> float | None:
        """The latest epoch of the model."""

    @property
    def started_at_epoch(self) -> float | None:
        """The one that it began after."""

    @property
    def repeated_epochs(self) -> float | None:
        """How many it ran again."""


def place(trial: Ran, epoch: float) -> float:
    """Return where an epoch of the model stands among all that the trial has run: each report has its own place."""
    return epoch + (trial.repeated_epochs or 0.0)


def epochs_run(trial: Ran) -> float | None:
    """Return how many epochs the trial has paid for; None before its first report."""
    if trial.epochs is None:
        return None
    return max(place(trial, trial.epochs) - (trial.started_at_epoch or 0.0), 0.0)


def is_whole(trial: Ran) -> bool:
    """Return whether the trial's figures are those of a training from its first epoch on."""
    return not trial.started_at_epoch


def comparable_share(trial: Ran) -> float | None:
    """Return which share of its outlay the trial would have taken without the epochs that it ran again.

    None: it is not a whole run.
    """
    if not is_whole(trial):
        return None
    ran = epochs_run(trial)
    return (trial.epochs or 0.0) / ran if ran and trial.repeated_epochs else 1.0


def counted(
    history: History, trial: TrialRecord, request: ObserveRequest, view: Job, epoch_cost: EpochCost
) -> tuple[TrialRecord, ObserveRequest]:
    """Return a trial with what a report shows of its epochs, and the report with the model's epoch.

    Args:
        history: The past of its job.
        trial: The trial before the report.
        request: The report, with the epoch as the trainer counts.
        view: The placement.
        epoch_cost: What an epoch is expected to cost.

    Raises:
        InvalidInput: The trainer began after the epoch that it reports.
    """
    began = request.started_at_epoch
    if began is not None and began > request.epoch:
        raise InvalidInput(
            "A trainer cannot begin after the epoch that it reports.",
            hint="started_at_epoch is the epoch of the checkpoint that it goes on from.",
            fields=[FieldError("started_at_epoch", f"must be at most epoch, {request.epoch:g}")],
        )
    is_open = trial.state in OPEN
    if is_open:
        trial = _after_first(trial, request, view, epoch_cost) if trial.epochs is None else _after(trial, request, view)
    if trial.epoch_shift:
        request = request.model_copy(update={"epoch": request.epoch + trial.epoch_shift})
    return (_went_back(history, trial, request) if is_open and trial.is_restarted else trial), request


def earlier_report(history: History, trial: TrialRecord, request: ObserveRequest) -> ObservationRecord | None:
    """Return the report of the same epoch, or of the same end."""
    closing = request.outcome is not None
    is_ahead = closing or trial.epochs is None or request.epoch > trial.epochs
    if trial.state == "running" and is_ahead and not (closing and trial.repeated_epochs is not None):
        return None  # what a trial ran is in its own row, and a report that closes one ends it
    at = place(trial, request.epoch)
    known = history.observation(trial.trial_id, at, closing=closing)
    if closing and trial.repeated_epochs is not None:
        while known is not None and differences(known, request):  # each process may have ended at the same epoch
            at = nextafter(at, inf)
            known = history.observation(trial.trial_id, at, closing=True)
    return known


def free_place(history: History, trial: TrialRecord, request: ObserveRequest) -> float:
    """Return the place of a new report, which no other of the trial has."""
    at = place(trial, request.epoch)
    if request.outcome is not None and trial.repeated_epochs is not None:
        while history.observation(trial.trial_id, at, closing=True) is not None:
            at = nextafter(at, inf)
    return at


def differences(known: ObservationRecord, request: ObserveRequest) -> list[str]:
    """Return the figures in which a report differs from one that was recorded."""
    names = ("metric", "energy_joules", "energy_known_from_seconds", "time_seconds", "outcome")
    return [name for name in names if getattr(known, name) != getattr(request, name)]


def _after_first(trial: TrialRecord, request: ObserveRequest, view: Job, epoch_cost: EpochCost) -> TrialRecord:
    """Return a trial as its first report shows it; where that may be the last one, its cost tells what it is of.

    A target that is reached at epoch 0 was trained for, unless that cost next to nothing.
    """
    epoch, began = request.epoch, request.started_at_epoch
    if began is None and trial.started_at_epoch is None and 0.0 < epoch <= 1.0:
        began = 0.0
    trial = replace(
        trial,
        started_at_epoch=trial.started_at_epoch if began is None else began,
        epoch_shift=None if epoch == 0.0 else 0.0,
    )
    is_reached = view.target is not None and request.metric is not None and view.target.reached(request.metric)
    cost = view.cost(request.energy_joules, request.time_seconds)
    if cost and request.setup_seconds and request.time_seconds:
        cost *= max(1.0 - request.setup_seconds / request.time_seconds, 0.0)
    if not (is_reached and cost) or (epoch > 0.0 and trial.started_at_epoch is not None):
        return trial
    expected = epoch_cost()
    if epoch == 0.0:
        is_trained = expected is None or cost >= _LEAST_SHARE_OF_EXPECTED * expected
        return _shifted(trial) if is_trained else trial
    ran = epoch if expected is None else cost / expected
    if ran >= _LEAST_SHARE * epoch:
        return trial
    return _resumed(trial, max(epoch - max(round(ran), 1), 0.0))


def _after(trial: TrialRecord, request: ObserveRequest, view: Job) -> TrialRecord:
    """Return a trial with what a later report than the first shows, if the first one left it open."""
    first = trial.epochs or 0.0
    if first == 0.0 and trial.epoch_shift is None:
        if request.epoch > 0.0:
            return _told_apart(trial, request, view.target)
        # A trainer that came to its own end has trained what it evaluated.
        has_trained = request.outcome == "failed" and trial.metric is not None and trial.time_seconds
        return _counting_from_0(trial, view.target) if has_trained else trial
    if trial.started_at_epoch is None and request.epoch > first:
        return _resumed_unsaid(trial, request)
    return trial


def _shifted(trial: TrialRecord) -> TrialRecord:
    """Return a trial whose trainer counts from 0."""
    return replace(trial, epoch_shift=1.0, started_at_epoch=0.0, warning=joined(trial.warning, [COUNTS_FROM_0]))


def _counting_from_0(trial: TrialRecord, target: Target | None) -> TrialRecord:
    """Return a trial whose first report was of epoch 0 and after an epoch of training."""
    curve = LearningCurve.from_state(trial.curve).add(1.0, trial.metric, target)
    return replace(_shifted(trial), epochs=1.0, curve=curve.to_state())


def _told_apart(trial: TrialRecord, request: ObserveRequest, target: Target | None) -> TrialRecord:
    """Return a trial whose first report was of epoch 0, after the next one."""
    shares = _times(trial, request)
    if shares is not None and request.epoch >= 1.0 and shares[0] >= _LEAST_SHARE * shares[1] / request.epoch:
        return _counting_from_0(trial, target)
    return replace(trial, epoch_shift=0.0, started_at_epoch=0.0)


def _resumed_unsaid(trial: TrialRecord, request: ObserveRequest) -> TrialRecord:
    """Return a trial whose first report was of a later epoch than the first, after its second report.

    Evaluations come at even distances, so that one which comes late is the first of a trainer that was resumed, unless
    it took as long as all epochs before it.
    """
    first = trial.epochs or 0.0
    gap, shares = request.epoch - first, _times(trial, request)
    if first <= _EVEN * gap or shares is None:
        return replace(trial, started_at_epoch=0.0)
    before, since = shares
    if before >= _LEAST_SHARE_FROM_SCRATCH * first * since / gap:
        return replace(trial, started_at_epoch=0.0)
    return _resumed(trial, first - gap)


def _resumed(trial: TrialRecord, epoch: float) -> TrialRecord:
    why = (
        f"The trainer began at epoch {epoch:g}, by the time that its epochs take: the epochs before are not this "
        "trial's. Name the trial that it goes on from (resumes), or the epoch (started_at_epoch)."
    )
    return replace(trial, started_at_epoch=epoch, warning=joined(trial.warning, [why]))


def _times(trial: TrialRecord, request: ObserveRequest) -> tuple[float, float] | None:
    """Return what lies before a trial's first report and between that and the second: seconds, or else joules.

    What is known to have gone by before the first step is left out.
    """
    for first, second, setup in (
        (trial.time_seconds, request.time_seconds, request.setup_seconds),
        (trial.energy_joules, request.energy_joules, request.setup_joules),
    ):
        if first is not None and second is not None and second > first:
            return max(first - (setup or 0.0), 0.0), second - first
    return None


def _went_back(history: History, trial: TrialRecord, request: ObserveRequest) -> TrialRecord:
    """Return a trial after the first report since it was restarted; one of before the restart changes nothing."""
    done = trial.epochs or 0.0
    began, gap = request.started_at_epoch, LearningCurve.from_state(trial.curve).gap
    if request.epoch > done and (began is None or began >= done):
        return replace(trial, is_restarted=False)
    known = history.observation(trial.trial_id, place(trial, request.epoch), closing=request.outcome is not None)
    if known is not None and not differences(known, request):
        return trial
    if request.outcome is not None or _is_less(request.time_seconds, trial.time_seconds):
        return trial
    began = max(request.epoch - gap, 0.0) if began is None else began
    repeated = (trial.repeated_epochs or 0.0) + max(done - began, 0.0)
    # The model is where it was when it was restarted, until the report is taken.
    return replace(trial, is_restarted=False, repeated_epochs=repeated, epochs=min(done, began))


def _is_less(figure: float | None, than: float | None) -> bool:
    return figure is not None and than is not None and figure < than
