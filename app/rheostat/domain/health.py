"""What the latest runs of a job show to be wrong: lost leases, unknown energy, crashes, drift, agents not ready."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import takewhile
from math import exp, log, sqrt
from statistics import fmean
from typing import Any, NamedTuple

from rheostat.domain.crashes import LEFT_OUT_AFTER
from rheostat.domain.job import Job
from rheostat.domain.placements import wire_gpu
from rheostat.domain.plausibility import MET_AT_ONCE
from rheostat.domain.records import PlacementKey
from rheostat.policy.interface import TrialState
from rheostat.schemas.health import CrashLoop, Drift, JobHealth, NodeState, Runs
from rheostat.schemas.nodes import NodeReport
from rheostat.schemas.server import UNKNOWN_MODEL

LOOK_BACK = 40
"""So many of the latest runs are looked at."""

_RUNS_OF_NODES = 10
"""Nodes that the latest runs did not use any more are not shown."""

_LATER_RUNS = 5
_LEAST_SHIFT = 0.14
"""Of the log cost: 15 %. Less is not worth to look at."""

_DEVIATIONS = 4.0
"""With ten runs or more, chance makes means differ by four standard errors once in 500 times (Student's t, 8 degrees of
freedom)."""

_LEAST_DEVIATION = 0.01
"""Of the log cost; simulated runs may be alike to the last digit."""


class RecentTrial(NamedTuple):
    """What is looked at of a trial; the names are those of its record."""

    placement: PlacementKey
    trial_id: str
    number: int
    batch_size: int
    power_limit_watts: int | None
    state: TrialState
    state_reason: str
    epochs: float | None
    energy_joules: float | None
    metered_joules: float | None
    energy_estimate: str | None
    time_seconds: float | None
    crashed_at: datetime | None
    created_at: datetime
    lease_expires_at: datetime
    warning: str | None
    nodes: list[dict[str, Any]] | None


def health(job: Job, recent: Sequence[RecentTrial], now: datetime) -> JobHealth:
    """Return what is wrong with a job.

    Args:
        job: The job.
        recent: Its latest trials, newest first.
        now: The time.
    """
    trained = [trial for trial in recent if trial.epochs]
    return JobHealth(
        lost=_runs(recent, lambda trial: _is_lost(trial, now)),
        without_energy=_runs(trained, _is_without_energy),
        crashes=_crashes(recent),
        drifts=_drifts(job, recent),
        met_at_once=_met_at_once(recent),
        nodes=_nodes(recent[:_RUNS_OF_NODES]),
    )


def _runs(trials: Sequence[RecentTrial], is_one: Callable[[RecentTrial], bool]) -> Runs | None:
    found = [trial for trial in trials if is_one(trial)]
    return _summed(found, len(trials)) if found else None


def _summed(found: Sequence[RecentTrial], of: int) -> Runs:
    latest = found[0]
    return Runs(count=len(found), of=of, since=found[-1].created_at, trial_id=latest.trial_id, number=latest.number)


def _is_lost(trial: RecentTrial, now: datetime) -> bool:
    return trial.state == "abandoned" or (trial.state == "running" and trial.lease_expires_at < now)


def _is_without_energy(trial: RecentTrial) -> bool:
    """Return whether nothing of a trial's energy was metered, though it is over or has reported."""
    if trial.energy_estimate is not None:
        return trial.metered_joules is None
    return trial.energy_joules is None


def _met_at_once(recent: Sequence[RecentTrial]) -> str | None:
    """Return the warning that the job's first run met its target at once, unless a later one took longer."""
    first = recent[-1] if recent else None
    if first is None or first.number != 1 or any((one.epochs or 0.0) > (first.epochs or 0.0) for one in recent):
        return None
    return next((line for line in (first.warning or "").splitlines() if line.startswith(MET_AT_ONCE)), None)


def _crashes(recent: Sequence[RecentTrial]) -> list[CrashLoop]:
    """Return the batch sizes whose latest trials, of those that are over, all crashed."""
    found = []
    for size in sorted({trial.batch_size for trial in recent}):
        over = [trial for trial in recent if trial.batch_size == size and (trial.state != "running" or trial.epochs)]
        crashed = list(takewhile(lambda trial: trial.crashed_at is not None, over))
        if len(crashed) >= LEFT_OUT_AFTER:
            found.append(CrashLoop(batch_size=size, runs=_summed(crashed, len(over)), reason=crashed[0].state_reason))
    return found


def _drifts(job: Job, recent: Iterable[RecentTrial]) -> list[Drift]:
    alike: dict[tuple[PlacementKey, int, int | None], list[tuple[RecentTrial, float]]] = {}
    for trial in recent:
        if trial.state == "converged":
            cost = job.view(job.placements[trial.placement]).cost(trial.energy_joules, trial.time_seconds)
            if cost:
                kind = trial.placement, trial.batch_size, trial.power_limit_watts
                alike.setdefault(kind, []).append((trial, log(cost)))
    found = []
    for (placement, size, _), runs in alike.items():
        later, earlier = runs[:_LATER_RUNS], runs[_LATER_RUNS:]
        if len(earlier) < _LATER_RUNS:
            continue
        shift = _shift([figure for _, figure in earlier], [figure for _, figure in later])
        if shift:
            found.append(
                Drift(
                    gpu=wire_gpu(job.placements[placement]),
                    batch_size=size,
                    percent=100.0 * (exp(shift) - 1.0),
                    earlier_runs=len(earlier),
                    later=_summed([trial for trial, _ in later], len(runs)),
                )
            )
    return found


def _shift(earlier: Sequence[float], later: Sequence[float]) -> float:
    """Return by how much later figures are above earlier ones; 0 where that may be chance, or is little."""
    means = fmean(earlier), fmean(later)
    shift, runs = means[1] - means[0], len(earlier) + len(later)
    squares = sum((figure - mean) ** 2 for part, mean in zip((earlier, later), means, strict=True) for figure in part)
    deviation = max(sqrt(squares / (runs - 2)), _LEAST_DEVIATION)
    is_chance = shift < _DEVIATIONS * deviation * sqrt(1 / len(earlier) + 1 / len(later))
    return 0.0 if is_chance or shift < _LEAST_SHIFT else shift


def _nodes(recent: Sequence[RecentTrial]) -> list[NodeState]:
    found: dict[str, NodeState] = {}
    for trial in recent:
        for stored in trial.nodes or ():
            report = NodeReport.model_validate(stored)
            found.setdefault(
                report.node,
                NodeState(
                    report=report,
                    trial_id=trial.trial_id,
                    number=trial.number,
                    at=trial.created_at,
                    has_gpu=trial.placement.gpu_model != UNKNOWN_MODEL,
                ),
            )
    return list(found.values())
