"""How well the costs of runs were predicted: what is kept of a prediction, and its comparison with what came.

A prediction is kept with its trial, at the knobs of that moment, and never derived again: it is what was said then. The
cost that it is compared with is priced at the same knobs, so that neither a change of `eta_knob` nor a rebuild bears on
the comparison.

A run that was stopped or failed is censored: its cost to the target is only known to be higher than what it had cost by
then. Censored runs count in no share. To leave them out makes the rest look cheaper than predicted, to count them
by what they cost would, too; how many had passed the upper end of an interval is counted beside it.
"""

from collections.abc import Iterable, Sequence
from math import isfinite, sqrt
from statistics import median
from typing import Any

from rheostat.domain import epochs, words
from rheostat.domain.control import Plan
from rheostat.domain.events import PolicyFailureTolerated
from rheostat.domain.job import Draft, Job
from rheostat.domain.placements import wire_gpu
from rheostat.domain.records import PlacementRecord, PredictedTrial
from rheostat.errors import PolicyFailed
from rheostat.policy.cost import known_cost
from rheostat.policy.estimates import CostPrediction
from rheostat.policy.interface import Job as PolicyJob
from rheostat.policy.thompson import NORMAL_95
from rheostat.schemas.calibration import Calibration, Coverage, PlacementCalibration, PredictedRun, Verdict

LATEST_TRIALS = 1000
"""So many of a job's latest trials are compared: older predictions were made by a policy that knew less."""

LEVELS = (0.5, 0.8, 0.95)

JUDGED_LEVEL = 0.8
"""The interval that the verdict is about: of few runs some are outside, of many enough are inside."""

FEWEST_TO_JUDGE = 10
"""Converged runs below which even the uncertainty of a share says little."""

_MEANS: dict[Verdict, str] = {
    "too few runs": "Too few runs to judge the intervals.",
    "about right": "The intervals are about right.",
    "too narrow": "The intervals are too narrow.",
    "too wide": "The intervals are wider than necessary.",
}

_CENSORED = ("stopped", "failed")
_LEAST_PERCENT_OFF = 3.0
_LARGEST_LOG = 300.0
"""A prediction beyond the exponential of that is none."""


def predicted(draft: Draft, view: PolicyJob, plan: Plan) -> dict[str, Any] | None:
    """Return what a new trial is predicted to cost, as plain JSON; None: the policy cannot say.

    It predicts for the power limit that it advises itself: where another one was ordered, nothing is predicted.
    """
    size = plan.choice.batch_size
    try:
        if plan.is_ordered and plan.power != draft.advisor.power(view, size):
            return None
        prediction = draft.advisor.predicted_cost(view, size)
    except PolicyFailed as error:
        draft.events.append(PolicyFailureTolerated("the cost of a trial is not predicted", error))
        return None
    if prediction is None or not _is_usable(prediction):
        return None
    return {
        "policy": draft.job.settings.policy,
        "eta_knob": view.eta_knob,
        "max_power_watts": view.max_power_watts,
        "log_mean": prediction.log_mean,
        "log_deviation": prediction.log_deviation,
        "fixed": prediction.fixed,
    }


def calibration(job: Job, trials: Sequence[PredictedTrial]) -> Calibration:
    """Return how well the costs of some of a job's trials were predicted by its present policy."""
    return Calibration(
        job_id=job.job_id,
        policy=job.settings.policy,
        latest_trials=LATEST_TRIALS,
        placements=[
            _placement(placement, [trial for trial in trials if trial.placement == key], job.settings.policy)
            for key, placement in job.placements.items()
        ],
    )


def share_interval(inside: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share that was seen ``inside`` times of ``count``.

    Wilson's score interval (E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
    JASA 22, 1927), which holds for few runs and for shares near 0 and 1.
    """
    share, weight = inside / count, NORMAL_95**2 / count
    centre = (share + 0.5 * weight) / (1.0 + weight)
    margin = NORMAL_95 * sqrt(share * (1.0 - share) / count + 0.25 * weight / count) / (1.0 + weight)
    return max(centre - margin, 0.0), min(centre + margin, 1.0)


def _is_usable(prediction: CostPrediction) -> bool:
    far = abs(prediction.log_mean) + 3.0 * prediction.log_deviation
    return isfinite(far) and isfinite(prediction.fixed) and far < _LARGEST_LOG and prediction.log_deviation > 0.0


def _placement(placement: PlacementRecord, trials: Iterable[PredictedTrial], policy: str) -> PlacementCalibration:
    runs = sorted((run for trial in trials if (run := _run(trial, policy)) is not None), key=lambda run: run.number)
    converged = [run for run in runs if not run.is_censored]
    censored = [run for run in runs if run.is_censored]
    coverage = [_coverage(level, converged, censored) for level in LEVELS]
    judged = coverage[LEVELS.index(JUDGED_LEVEL)]
    verdict = _verdict(judged, len(converged))
    ratio = median(run.cost / run.predicted for run in converged) if converged else None
    return PlacementCalibration(
        gpu=wire_gpu(placement),
        converged_runs=len(converged),
        censored_runs=len(censored),
        median_ratio=ratio,
        coverage=coverage,
        verdict=verdict,
        statement=_statement(judged, verdict, ratio, len(converged), len(censored)),
        runs=runs,
    )


def _run(trial: PredictedTrial, policy: str) -> PredictedRun | None:
    """Return a run with its prediction; None: another policy made that, or the run is no whole one of known cost."""
    said, is_censored = trial.predicted_cost, trial.state in _CENSORED
    if said["policy"] != policy or not (is_censored or trial.state == "converged"):
        return None
    share = epochs.comparable_share(trial)
    knobs = {name: said[name] for name in ("eta_knob", "max_power_watts")}
    cost = known_cost(trial.energy_joules, trial.time_seconds, **knobs)
    if share is None or not cost:
        return None
    prediction = CostPrediction(said["log_mean"], said["log_deviation"], said["fixed"])
    return PredictedRun(
        trial_id=trial.trial_id,
        number=trial.number,
        batch_size=trial.batch_size,
        state=trial.state,
        cost=share * cost,
        predicted=prediction.median,
        predicted_low=prediction.quantile(_tail(JUDGED_LEVEL)),
        predicted_high=prediction.quantile(1.0 - _tail(JUDGED_LEVEL)),
        probability=prediction.probability_below(share * cost),
        is_censored=is_censored,
    )


def _coverage(level: float, converged: Sequence[PredictedRun], censored: Sequence[PredictedRun]) -> Coverage:
    count, tail = len(converged), _tail(level)
    below = sum(run.probability < tail for run in converged)
    above = sum(run.probability > 1.0 - tail for run in converged)
    inside = count - below - above
    low, high = share_interval(inside, count) if count else (None, None)
    return Coverage(
        level=level,
        inside=inside,
        below=below,
        above=above,
        censored_above=sum(run.probability > 1.0 - tail for run in censored),
        share=inside / count if count else None,
        share_low=low,
        share_high=high,
    )


def _tail(level: float) -> float:
    """Return the probability on either side of a central interval."""
    return 0.5 * (1.0 - level)


def _verdict(judged: Coverage, count: int) -> Verdict:
    if count < FEWEST_TO_JUDGE or judged.share_low is None or judged.share_high is None:
        return "too few runs"
    if judged.share_high < judged.level:
        return "too narrow"
    return "too wide" if judged.share_low > judged.level else "about right"


def _statement(judged: Coverage, verdict: Verdict, ratio: float | None, count: int, censored: int) -> str:
    """Return the calibration in words."""
    if ratio is None or judged.share is None or judged.share_low is None or judged.share_high is None:
        said = [
            "No run with a predicted cost has reached its target yet.",
            "A cost is predicted once the policy knows what runs cost; trials of an earlier release have none.",
        ]
    else:
        share, low, high = (f"{100.0 * figure:.0f}" for figure in (judged.share, judged.share_low, judged.share_high))
        said = [
            f"{judged.inside} of {words.counted(count, 'run')} cost what was predicted, "
            f"within the {100.0 * judged.level:.0f} % "
            f"interval ({share} %, 95 % confidence interval {low} to {high} %).",
            _MEANS[verdict],
        ]
        if outside := judged.below + judged.above:
            said.append(f"Of the {outside} outside, {judged.above} cost more.")
        if abs(off := 100.0 * (ratio - 1.0)) >= _LEAST_PERCENT_OFF:
            said.append(f"The median run cost {abs(off):.0f} % {'more' if off > 0 else 'less'} than predicted.")
    if censored:
        are = "is" if censored == 1 else "are"
        said.append(f"{censored} that ended before the target {are} not counted.")
    return " ".join(said)
