"""Learning from a run that is over: pure functions from what was known and the result to new evidence.

What was known is priced at the reference knobs, so that the evidence depends on no setting that may be changed later.
"""

from typing import NamedTuple

from rheostat.policy.cost import NOTHING, Outlay
from rheostat.policy.interface import Result
from rheostat.policy.recommender import closing, curves, drift, stopping
from rheostat.policy.recommender.belief import RunBelief
from rheostat.policy.recommender.evidence import Arm, Evidence, safe_log
from rheostat.policy.recommender.knowledge import Knowledge
from rheostat.policy.recommender.outliers import admit, is_outlier

_SHORTEST = 1e-6


class Update(NamedTuple):
    """The evidence after a run.

    Attributes:
        evidence: The placement's, with the run.
        outdated: Variance from run to run at which all earlier evidence of the job is to be discounted; None: it is
            not out of date.
    """

    evidence: Evidence
    outdated: float | None = None


def learn(known: Knowledge, result: Result) -> Update:
    """Return the evidence after a run; one without a verdict counts as converged, as it was run to its end."""
    arm = known.own.arms[result.batch_size]
    evidence = known.own.with_arm(result.batch_size, arm._replace(runs=arm.runs + 1))
    if result.took.fixed is not None:
        evidence = evidence.with_fixed(result.took.fixed)
    if result.state == "oom":
        return Update(evidence)
    if result.converged is False:
        return _learn_failure(known, evidence, result)
    evidence = evidence._replace(learned=evidence.learned + 1, unconverged={})
    arm = evidence.arms[result.batch_size]
    evidence = evidence.with_arm(result.batch_size, arm._replace(paid=arm.paid + 1))
    if result.epochs is None:
        return Update(_with_whole_cost(known, evidence, result))
    return _learn_success(known, evidence, result, result.epochs)


def _with_whole_cost(known: Knowledge, evidence: Evidence, result: Result) -> Evidence:
    arm, belief = evidence.arms[result.batch_size], known.belief
    expected = None
    if belief is not None and belief.has_level:
        at = known.grid.index(result.batch_size)
        expected = float(belief.log_cost[at]), float(belief.log_cost_variance[at]) + belief.noise
    trained = _trained(known, result, result.took.charged)
    log_cost = safe_log(known.job.price(trained))
    costs, overturned = admit(arm.whole_costs, log_cost, expected, known.job.window_size)
    evidence = closing.reopened(evidence) if overturned else evidence
    arm = _with_success(known, evidence.arms[result.batch_size])
    whole = arm.whole
    if overturned:
        whole = trained
    elif costs.held_back != log_cost:
        share = 1.0 - 1.0 / costs.count if costs.count == arm.whole_costs.count else 1.0  # a full window
        whole = whole.scaled(share).plus(trained)
    return evidence.with_arm(result.batch_size, arm._replace(whole_costs=costs, whole=whole))


def _learn_success(known: Knowledge, evidence: Evidence, result: Result, epochs: float) -> Update:
    size, target, log_epochs = result.batch_size, known.job.target, safe_log(epochs)
    update, expected = Update(evidence), None
    if (runs := known.runs) is not None:
        run = runs.of(size)
        expected = run.mean, run.variance
        update = _follow_drift(known, runs, evidence, size, (log_epochs - run.mean) / run.variance**0.5)
    tally, overturned = admit(update.evidence.arms[size].epochs, log_epochs, expected, known.job.window_size)
    evidence = closing.reopened(update.evidence) if overturned else update.evidence
    arm = _with_success(known, evidence.arms[size])._replace(epochs=tally)
    trained = _trained(known, result, result.took.charged)
    arm = arm.with_epoch_cost(trained.scaled(1.0 / max(epochs, _SHORTEST)))
    if target is not None and tally.held_back != log_epochs:
        evidence = evidence._replace(levels=known.pooled.levels or curves.choose_levels(result.curve, target))
        arm = curves.with_curve(arm, result.curve, log_epochs, evidence.levels, target)
    return update._replace(evidence=evidence.with_arm(size, arm))


def _with_success(known: Knowledge, arm: Arm) -> Arm:
    """Return an arm whose run converged: with a window, what was lost before it fades as old runs do."""
    window = known.job.window_size
    return arm if window == 0 else arm._replace(lost=arm.lost.scaled(1.0 - 1.0 / window))


def _learn_failure(known: Knowledge, evidence: Evidence, result: Result) -> Update:
    size, runs = result.batch_size, known.runs
    unconverged = {**evidence.unconverged, size: evidence.unconverged.get(size, 0) + 1}
    evidence = evidence._replace(unconverged=unconverged)
    if size != known.job.default_batch_size and not evidence.arms[size].converged:
        spent = known.believable(_spent(result), size, result.epochs)
        evidence = evidence._replace(wasted=evidence.wasted.plus(spent))
    update = Update(evidence)
    if runs is not None and result.epochs:
        run = runs.of(size)
        so_far = stopping.not_yet(run, result.epochs, result.curve.gap)
        off = max((so_far.mean - run.mean) / run.variance**0.5, 0.0)
        update = _follow_drift(known, runs, update.evidence, size, off)
    arm = _with_failure(known, update.evidence.arms[size], result)
    if result.state == "stopped" and result.epochs:
        arm = arm.with_epoch_cost(_trained(known, result, result.took.charged).scaled(1.0 / result.epochs))
    if runs is not None and result.epochs and result.state == "stopped":
        arm = _with_censored_observation(known, runs, arm, result, result.epochs)
    return update._replace(evidence=update.evidence.with_arm(size, arm))


def _trained(known: Knowledge, result: Result, outlay: Outlay) -> Outlay:
    return known.trained(outlay, result.took.fixed, batch_size=result.batch_size, epochs=result.epochs)


def _spent(result: Result) -> Outlay:
    """Return what a run that did not converge spent; one that ended before its first report next to nothing."""
    took = result.took
    if took.spent is not None:
        return took.spent
    return took.charged if result.epochs else NOTHING


def _with_failure(known: Knowledge, arm: Arm, result: Result) -> Arm:
    """Return an arm whose run did not converge, with what that does to its standing."""
    ran_out = (result.epochs or 0.0) >= known.job.max_epochs and not result.diverged
    outlay = _spent(result) if ran_out else result.took.charged
    outlay = known.believable(outlay, result.batch_size, result.epochs)
    if ran_out or arm.converged:
        arm = arm._replace(lost=arm.lost.plus(outlay))
    if result.state == "stopped":
        return arm.with_stop(_trained(known, result, outlay))
    whole_run = ran_out or result.epochs is None
    return arm._replace(failures=arm.failures + (1.0 if whole_run and known.belief is not None else 0.5))


def _with_censored_observation(known: Knowledge, runs: RunBelief, arm: Arm, result: Result, epochs: float) -> Arm:
    """Return an arm with a stopped run as a censored observation of its epochs, unless that is an outlier.

    A run that failed says something of convergence, but nothing of how many epochs a converging one needs. Neither does
    one that was stopped long after it should have converged: it counts as far as it would have.
    """
    run = runs.of(result.batch_size)
    by_curve = known.by_curve(runs, result.batch_size, result.curve)
    epochs = min(epochs, known.job.max_epochs)
    censored = stopping.censored_observation(run, by_curve, runs.noise, epochs, result.curve.gap)
    alive = stopping.chance_of_converging(by_curve, epochs, result.curve.gap)
    precision, weighted = censored = (alive * censored[0], alive * censored[1])
    if precision <= arm.censored[0] or is_outlier(weighted / precision, (run.mean, run.variance)):
        return arm
    return arm._replace(censored=censored)


def _follow_drift(known: Knowledge, runs: RunBelief, evidence: Evidence, size: int, deviation: float) -> Update:
    """Return the evidence after a run that was off by so many deviations; only arms that converged before count."""
    if known.job.target is None or not runs.converged[known.grid.index(size)]:
        return Update(evidence)
    evidence = evidence._replace(drift=drift.follow(evidence.drift, deviation))
    if not drift.is_alarm(evidence.drift):
        return Update(evidence)
    return Update(drift.discount(evidence, runs.noise), runs.noise)
