"""What earlier runs say once a job's target or epochs have changed: they are judged by what was evaluated then.

A run that ended before the change of the target's value counts as converged at the evaluation where it reached the new
one, for the share of its cost up to there. One that did not reach it, and went on to its end under an easier target,
says nothing: it might have reached it later. Before a change of the metric or of its direction nothing is known. Out of
memory stays what it was.
"""

from collections.abc import Mapping
from dataclasses import replace

from rheostat.domain.job import Job
from rheostat.domain.records import RunRecord, TrialRecord
from rheostat.policy.learning_curve import LearningCurve
from rheostat.schemas.server import JobSettings

Run = TrialRecord | RunRecord

_STAYS = ("oom", "stopped")


def changed(job: Job, settings: JobSettings) -> Mapping[str, int] | None:
    """Return from which place in the job's evidence on its runs ended by the settings, for each of what changed."""
    before, judging = job.settings, dict(job.judging or {})
    old, new = before.target, settings.target
    if (old and (old.metric, old.direction)) != (new and (new.metric, new.direction)):
        judging["metric"] = job.next_sequence
    elif old != new:
        judging["value"] = job.next_sequence
    if before.max_epochs != settings.max_epochs:
        judging["max_epochs"] = job.next_sequence
    return judging or None


def judged(job: Job, run: Run) -> Run | None:
    """Return a run as it counts by the job's present target and epochs; None: it says nothing of them."""
    judging = job.judging
    if judging is None or run.sequence is None or (isinstance(run, TrialRecord) and run.state == "oom"):
        return run
    if run.sequence < judging.get("metric", 0):
        return None
    if run.sequence < judging.get("value", 0):
        return _by_curve(job, run)
    if run.sequence < judging.get("max_epochs", 0):
        return _by_epochs(job, run)
    return run


def _by_curve(job: Job, run: Run) -> Run | None:
    target, curve, most = job.target(), LearningCurve.from_state(run.curve), job.settings.max_epochs
    reached = None if target is None else curve.reached(target.value, target)
    if reached is not None and reached <= most:
        return _until(run, reached)
    ran = run.epochs or 0.0
    if ran >= most and curve.points:
        return _ended(run, converged=False)
    return run if isinstance(run, TrialRecord) and run.state in _STAYS else None


def _by_epochs(job: Job, run: Run) -> Run | None:
    most = job.settings.max_epochs
    if isinstance(run, RunRecord):
        is_converged, is_failed = run.converged is not False, run.converged is False
    else:
        is_converged, is_failed = run.state == "converged", run.state == "failed"
    if job.target() is None:  # it is over with its epochs
        return _until(run, float(most)) if is_converged and (run.epochs or 0.0) >= most else None
    if is_converged and run.epochs is not None and run.epochs > most:
        return _ended(run, converged=False)
    if is_failed and (run.epochs is None or run.epochs < most):
        return None  # with more epochs it might have converged
    return run


def _until(run: Run, epoch: float) -> Run:
    """Return a run as if it had converged at an epoch, for the share of its totals up to there."""
    share = min(epoch / run.epochs, 1.0) if run.epochs else 1.0
    curve = LearningCurve.from_state(run.curve)
    points = tuple(point for point in curve.points if point[0] <= epoch)
    shorter = None if run.curve is None else LearningCurve(points, min(epoch, curve.epoch), curve.gap).to_state()
    epochs = None if run.epochs is None else min(epoch, run.epochs)
    if isinstance(run, RunRecord):
        joules, seconds = _part(run.energy_joules, 0.0, share), _part(run.time_seconds, 0.0, share)
        cost = _part(run.cost, 0.0, share)
        run = replace(run, epochs=epochs, curve=shorter, energy_joules=joules, time_seconds=seconds, cost=cost)
    else:
        joules = _part(run.energy_joules, run.setup_joules or 0.0, share)
        seconds = _part(run.time_seconds, run.setup_seconds or 0.0, share)
        run = replace(run, epochs=epochs, curve=shorter, energy_joules=joules, time_seconds=seconds)
    return _ended(run, converged=True)


def _part(total: float | None, fixed: float, share: float) -> float | None:
    """Return the share of a total that grows with the epochs, but for its fixed part."""
    return None if total is None else fixed + (total - fixed) * share


def _ended(run: Run, *, converged: bool) -> Run:
    if isinstance(run, RunRecord):
        return replace(run, converged=converged)
    return replace(run, state="converged" if converged else "failed")
