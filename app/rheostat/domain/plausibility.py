"""What is allowed, but hardly meant: a wrong unit, a wrong direction, a target met at once, an impossible energy.

A trial is warned of it, and goes on; its warnings are kept with it, one a line. What comes without a trial is refused.
"""

import re
from collections.abc import Mapping

from rheostat.domain.records import PlacementRecord, TrialRecord
from rheostat.errors import FieldError, InvalidInput
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

MOST_TIMES_POWER = 10.0
"""Power beyond so many times the maximum is an error of unit (mJ for J is a factor of 1000), whatever a clock or a
counter gets wrong, and even where the eight GPUs of a node are counted as one."""

LARGEST_GPU_WATTS = 2000
"""Stands for a GPU's maximum where it is unknown: those of today draw up to 1400 W (data sheets of NVIDIA's B300 and
AMD's Instinct MI355X)."""

_TICK_SECONDS = 1.0
"""A counter that is read after a moment may count what was drawn before it."""

MET_AT_ONCE = "The first evaluation of the job's first run met its target"

_SET_ASIDE = "so that the energy counts as unknown"


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
            f"{MET_AT_ONCE}, {target.metric} {target.value:g}, with "
            f"{metric:g}: if training is to go on from there, the target, its direction ({target.direction}) or the "
            "unit of the metric is wrong."
        ]
    return []


def most_joules(placement: PlacementRecord, seconds: float) -> float:
    """Return the energy of a time that is not to be believed any more."""
    watts = placement.max_power_limit_watts or LARGEST_GPU_WATTS
    return MOST_TIMES_POWER * watts * placement.gpu_count * (seconds + _TICK_SECONDS)


def without_impossible_energy(
    placement: PlacementRecord, trial: TrialRecord, request: ObserveRequest
) -> tuple[ObserveRequest, list[str]]:
    """Return a report without an energy that its GPUs cannot have drawn, and the warning; its time counts.

    Args:
        placement: Where the trial runs.
        trial: The trial before the report.
        request: The report.
    """
    joules = request.energy_joules
    seconds = trial.time_seconds if request.time_seconds is None else request.time_seconds
    if joules is None or seconds is None or joules <= most_joules(placement, seconds):
        return request, []
    figures = {"energy_joules": None, "energy_known_from_seconds": None, "setup_joules": None}
    warning = f"{joules:.4g} J in {seconds:.4g} s {_is_impossible(placement)}, {_SET_ASIDE}. {_ENERGY_UNIT}"
    return request.model_copy(update=figures), [] if _SET_ASIDE in (trial.warning or "") else [warning]


def check_energy(placement: PlacementRecord, energies: Mapping[str, tuple[float | None, float | None]]) -> None:
    """Check that GPUs can have drawn some energies.

    Args:
        placement: The GPUs.
        energies: Joules and seconds by the field that the joules are in.

    Raises:
        InvalidInput: They cannot have drawn one of them.
    """
    fields = [
        FieldError(name, f"must be at most {most_joules(placement, seconds):.4g} J in {seconds:.4g} s")
        for name, (joules, seconds) in energies.items()
        if joules is not None and seconds is not None and joules > most_joules(placement, seconds)
    ]
    if fields:
        raise InvalidInput(f"The energy {_is_impossible(placement)}.", hint=_ENERGY_UNIT, fields=fields)


_ENERGY_UNIT = "Energy is in joules, over all GPUs of the run; 1 Wh is 3600 J."


def _is_impossible(placement: PlacementRecord) -> str:
    watts = placement.max_power_limit_watts or LARGEST_GPU_WATTS
    power = f"{watts} W" + (" (assumed: their maximum is unknown)" if placement.max_power_limit_watts is None else "")
    return f"is more than {MOST_TIMES_POWER:g} times what {placement.gpu_count} x {placement.gpu_model} draw at {power}"


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
