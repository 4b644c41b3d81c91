"""Energy that reports leave out, estimated from the mean power of what was metered.

A trial whose energy is unknown for a while is not priced as if it had drawn maximum power: what it trained without a
figure counts at the mean power of the placement's runs so far. The sums behind the means are a fold over the evidence,
as a policy's state is; what was estimated from them is stored with the trial, so that a rebuild finds the same figures.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from rheostat.domain.records import ObservationRecord, Paid, RunRecord, TrialRecord
from rheostat.policy.interface import State
from rheostat.schemas.trials import ObserveRequest


class Metered(NamedTuple):
    """What a figure of energy counted: joules, and the part of the training time; ``until_seconds`` None: unknown."""

    joules: float
    since_seconds: float
    until_seconds: float | None

    @property
    def seconds(self) -> float:
        """How long it counted; 0 when that is unknown."""
        return 0.0 if self.until_seconds is None else max(self.until_seconds - self.since_seconds, 0.0)


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over the concluded runs of a placement, or of one of its batch sizes.

    Attributes:
        joules: Energy that was metered.
        seconds: How long it was metered.
        metered: Runs that had it metered, in whole or in part.
        estimated: Runs whose energy is unknown or was estimated, in whole or in part.
    """

    joules: float = 0.0
    seconds: float = 0.0
    metered: int = 0
    estimated: int = 0

    @property
    def mean_watts(self) -> float | None:
        """The mean power of all GPUs of a run; None when nothing was metered."""
        return self.joules / self.seconds if self.joules > 0.0 and self.seconds > 0.0 else None


class _Rate(NamedTuple):
    """Power that an unknown stretch is taken to have drawn, and what says so."""

    watts: float
    source: str


def sums_of(state: State | None, batch_size: int | None = None) -> Sums:
    """Return the sums of a batch size, or of all."""
    if state is None:
        return Sums()
    if batch_size is not None:
        return Sums(*state.get(str(batch_size), ()))
    # In one order, whether the state was stored meanwhile or not: a rebuild must find the same figures to the last bit.
    return Sums(*(sum(column) for column in zip(*(state[size] for size in sorted(state)), strict=True)))


def learn(state: State | None, run: TrialRecord | RunRecord) -> State:
    """Return the sums with one more run."""
    known = metered(run)
    has_span = known is not None and known.joules > 0.0 and known.seconds > 0.0
    old = sums_of(state, run.batch_size)
    new = (
        old.joules + (known.joules if known is not None and has_span else 0.0),
        old.seconds + (known.seconds if known is not None and has_span else 0.0),
        old.metered + has_span,
        old.estimated + is_estimated(run),
    )
    return {**(state or {}), str(run.batch_size): list(new)}


def metered(run: TrialRecord | RunRecord | Paid) -> Metered | None:
    """Return what was metered of a run; None when nothing was."""
    if not isinstance(run, RunRecord) and run.energy_estimate is not None:
        if run.metered_joules is None:
            return None
        return Metered(run.metered_joules, run.metered_from_seconds or 0.0, run.metered_to_seconds)
    return None if run.energy_joules is None else Metered(run.energy_joules, 0.0, run.time_seconds)


def reported_alike(request: ObserveRequest, earlier: TrialRecord | ObservationRecord) -> float | None:
    """Return the energy of a trial or report if it counts from the same moment on as that of a request, else None."""
    since = request.energy_known_from_seconds or 0.0
    if isinstance(earlier, TrialRecord):
        known = metered(earlier)
        return known.joules if known is not None and known.since_seconds == since else None
    return earlier.energy_joules if (earlier.energy_known_from_seconds or 0.0) == since else None


def is_estimated(run: TrialRecord | RunRecord | Paid) -> bool:
    """Return whether a run's energy is estimated, or its cost counts maximum power for it."""
    if not isinstance(run, RunRecord) and run.energy_estimate is not None:
        return True
    return run.energy_joules is None and bool(run.time_seconds)


def of_whole_run(run: RunRecord, sums: State | None) -> float | None:
    """Return the energy of a whole run, estimated from the mean power of the runs before it where it is unknown."""
    if run.energy_joules is not None or run.time_seconds is None:
        return run.energy_joules
    watts = sums_of(sums, run.batch_size).mean_watts or sums_of(sums).mean_watts
    return None if watts is None else watts * run.time_seconds


def explanation(run: TrialRecord, max_power_watts: float) -> str | None:
    """Return how a trial's energy was estimated; None when it was not."""
    if not is_estimated(run):
        return None
    return run.energy_estimate or f"unknown: the cost counts maximum power, {max_power_watts:.4g} W"


def figures_after(
    trial: TrialRecord, request: ObserveRequest, sums: Callable[[], State | None], max_power_watts: float
) -> dict[str, Any]:
    """Return a trial's time and energy after a report, with an estimate of what is not known of its energy.

    What ran before the metering began counts at the trial's own mean power; what ran since its last figure at that of
    the batch size, else at its own, else at that of the placement, and at maximum power where nothing else is known.

    Args:
        trial: The trial before the report.
        request: The report.
        sums: Returns the placement's sums.
        max_power_watts: What all GPUs draw at most.
    """
    seconds = trial.time_seconds if request.time_seconds is None else request.time_seconds
    known = metered(trial)
    if request.energy_joules is not None and not _has_stood_still(known, request):
        known = Metered(request.energy_joules, request.energy_known_from_seconds or 0.0, seconds)
    gaps = _gaps(known, seconds)
    if not any(gaps):
        return _WHOLE | {"time_seconds": seconds, "energy_joules": known and known.joules}
    rates = _rates(known, sums(), trial.batch_size)
    if known is None and rates is None:
        return {"time_seconds": seconds}
    rates = rates or (_Rate(max_power_watts, "maximum power: no mean is known"),) * 2
    unknown = [(gap, rate) for gap, rate in zip(gaps, rates, strict=True) if gap > 0.0]
    texts = [f"{gap:.4g} s of {seconds or gap:.4g} s at {rate.watts:.4g} W, {rate.source}" for gap, rate in unknown]
    return {
        "time_seconds": seconds,
        "energy_joules": (known.joules if known else 0.0) + sum(gap * rate.watts for gap, rate in unknown),
        "metered_joules": known and known.joules,
        "metered_from_seconds": known and known.since_seconds,
        "metered_to_seconds": known and known.until_seconds,
        "energy_estimate": f"estimated: {'; '.join(texts)}",
    }


_WHOLE = {
    "metered_joules": None,
    "metered_from_seconds": None,
    "metered_to_seconds": None,
    "energy_estimate": None,
}


def _has_stood_still(known: Metered | None, request: ObserveRequest) -> bool:
    """Return whether a report repeats the last total though time went on: its energy since then is unknown."""
    return (
        known is not None
        and known.until_seconds is not None
        and request.time_seconds is not None
        and request.time_seconds > known.until_seconds
        and request.energy_joules == known.joules > 0.0
        and (request.energy_known_from_seconds or 0.0) == known.since_seconds
    )


def _gaps(known: Metered | None, seconds: float | None) -> tuple[float, float]:
    """Return how long a trial ran before its metering began, and since its last figure."""
    if known is None:
        return 0.0, seconds or 0.0
    if seconds is None or known.until_seconds is None:
        return known.since_seconds, 0.0
    return min(known.since_seconds, seconds), max(seconds - known.until_seconds, 0.0)


def _rates(known: Metered | None, sums: State | None, batch_size: int) -> tuple[_Rate, _Rate] | None:
    """Return the power for what ran before the metering began, and since its last figure; None: nothing is known."""
    usual = _rate_of(sums_of(sums, batch_size), f"at batch size {batch_size}")
    other = _rate_of(sums_of(sums), "on these GPUs")
    own = None
    if known is not None and known.joules > 0.0 and known.seconds > 0.0:
        own = _Rate(known.joules / known.seconds, "its own mean")
    before, after = own or usual or other, usual or own or other
    return None if before is None or after is None else (before, after)


def _rate_of(sums: Sums, where: str) -> _Rate | None:
    watts = sums.mean_watts
    runs = "run" if sums.metered == 1 else "runs"
    return None if watts is None else _Rate(watts, f"the mean of {sums.metered} {runs} {where}")
