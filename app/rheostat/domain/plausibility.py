"""Warnings about what is allowed, but hardly meant: a wrong unit, a wrong direction, a target met at once.

They are kept with the trial, one a line.
"""

import re

from rheostat.domain.records import TrialRecord
from rheostat.schemas.server import JobSettings, Target
from rheostat.schemas.trials import ObserveRequest

_SHARES = frozenset(
    [
        "acc",
        "accuracy",
        "top1",
        "top5",
        "f1",
        "auc",
        "auroc",
        "auprc",
        "precision",
        "recall",
        "iou",
        "miou",
        "map",
        "dice",
        "em",
        "sensitivity",
        "specificity",
        "r2",
    ]
)
"""Words in the name of a metric that is a share, and better when it is higher."""

_HIGHER_IS_BETTER = _SHARES | frozenset(["bleu", "rouge", "meteor", "psnr", "ssim", "reward"])

_ERROR_RATES = frozenset(["err", "error", "wer", "cer", "eer"])

_LOWER_IS_BETTER = _ERROR_RATES | frozenset(
    ["loss", "perplexity", "ppl", "mse", "rmse", "mae", "nll", "bpc", "bpb", "fid", "entropy"]
)

_TURNED_ROUND = frozenset(["neg", "negative", "minus", "inv", "inverse"])

_PERCENT, _MANY_TIMES = 100.0, 10.0

_OTHER_UNIT = "do not seem to be in the same unit"

_FAR_ABOVE = 2.0
"""A share is at most 1; a word error rate may be a little more."""


def of_settings(settings: JobSettings) -> list[str]:
    """Return what is hardly meant in a job's settings."""
    target = settings.target
    if target is None:
        return []
    words = _words(target.metric)
    higher, lower = bool(words & _HIGHER_IS_BETTER), bool(words & _LOWER_IS_BETTER)
    if words & _TURNED_ROUND or higher in (lower, target.direction == "maximize"):
        return []
    usual = "maximize" if higher else "minimize"
    return [
        f"The target's direction is {target.direction}, but a metric called {target.metric!r} is usually better when "
        f"it is {'higher' if higher else 'lower'}: register the job with the direction {usual!r} if that is meant."
    ]


def of_report(settings: JobSettings, trial: TrialRecord, request: ObserveRequest) -> list[str]:
    """Return what is hardly meant in a report of a trial.

    Args:
        settings: The job's.
        trial: The trial before the report.
        request: The report.
    """
    target, metric = settings.target, request.metric
    if target is None or metric is None:
        return []
    if _is_in_another_unit(target, metric):
        if _OTHER_UNIT in (trial.warning or ""):
            return []
        units = "a share and the metric in percent" if target.value <= 1.0 else "in percent and the metric a share"
        return [
            f"The target {target.metric} {target.value:g} and the reported {metric:g} {_OTHER_UNIT}: is the target "
            f"{units}?"
        ]
    if trial.number == 1 and trial.curve is None and target.reached(metric):
        return [
            f"The first evaluation of the job's first run met its target, {target.metric} {target.value:g}, with "
            f"{metric:g}: if training is to go on from there, the target, its direction ({target.direction}) or the "
            "unit of the metric is wrong."
        ]
    return []


def joined(known: str | None, more: list[str]) -> str | None:
    """Return the warnings of a trial with some more, each once."""
    return "\n".join(dict.fromkeys([*listed(known), *more])) or None


def listed(warning: str | None) -> list[str]:
    """Return the warnings of a trial."""
    return [] if warning is None else warning.split("\n")


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()))


def _is_in_another_unit(target: Target, metric: float) -> bool:
    """Return whether of the target and the metric one is a share, and the other in percent."""
    words = _words(target.metric)
    is_share, is_error = bool(words & _SHARES), bool(words & _ERROR_RATES)
    if target.direction == "maximize":
        if 0.0 < target.value <= 1.0:
            return 1.0 < metric <= _PERCENT and (is_share or metric >= _MANY_TIMES * target.value)
        return is_share and 1.0 < target.value <= _PERCENT and 0.0 < metric <= 1.0
    return is_error and 0.0 < target.value < 1.0 and _FAR_ABOVE < metric <= _PERCENT
