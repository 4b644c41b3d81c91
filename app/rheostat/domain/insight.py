"""What the policy believes of a job's arms, and what the job has saved."""

from dataclasses import dataclass

from rheostat.domain.evidence import power_measurement
from rheostat.domain.history import History
from rheostat.domain.job import Draft, Job
from rheostat.domain.placements import wire_gpu
from rheostat.domain.records import PlacementRecord, Totals
from rheostat.policy import interface as policy
from rheostat.policy.interface import ArmEstimate
from rheostat.policy.interface import Job as PolicyJob
from rheostat.schemas.server import Estimate, Estimates, PlacementEstimates, PlacementSavings, Saving, Savings


def estimates(job: Job) -> Estimates:
    """Return what the policy believes of every arm on every placement.

    Raises:
        PolicyFailed: The policy raised.
    """
    draft = Draft(job)
    return Estimates(
        job_id=job.job_id,
        policy=job.settings.policy,
        placements=[
            PlacementEstimates(gpu=wire_gpu(placement), arms=_arms(draft, placement))
            for placement in job.placements.values()
        ],
    )


def savings(job: Job, history: History) -> Savings:
    """Return what the job cost against always running the default at the maximum limit."""
    return Savings(
        job_id=job.job_id,
        placements=[_placement_savings(job, history, placement) for placement in job.placements.values()],
    )


def _arms(draft: Draft, placement: PlacementRecord) -> list[Estimate]:
    view = draft.view(placement)
    believed = {arm.batch_size: arm for arm in draft.advisor.estimates(view)}
    oom = placement.smallest_oom_batch_size
    chances = [arm.probability_best or 0.0 for arm in believed.values() if oom is None or arm.batch_size < oom]
    arms = []
    for size in draft.job.settings.batch_sizes:
        arm = believed.get(size, ArmEstimate(size, 0, "the policy gives no estimate"))
        closed = oom is not None and size >= oom
        arms.append(
            Estimate(
                batch_size=size,
                runs=arm.runs,
                **_interval("cost", arm.cost),
                **_interval("epochs", arm.epochs),
                **_interval("epoch_cost", arm.epoch_cost),
                probability_best=None
                if not sum(chances)
                else (arm.probability_best or 0.0) * (not closed) / sum(chances),
                power_limit_watts=draft.advisor.power(view, size).power_limit_watts,
                status=f"closed: {oom} ran out of memory" if closed else arm.status,
            )
        )
    return arms


def _interval(name: str, estimate: policy.Estimate) -> dict[str, float | None]:
    return {name: estimate.mean, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


@dataclass(frozen=True, slots=True)
class _Default:
    """What one run of the default batch size at the maximum limit costs, and how that is known."""

    energy_joules: float | None
    time_seconds: float | None
    cost: float | None
    method: str


def _placement_savings(job: Job, history: History, placement: PlacementRecord) -> PlacementSavings:
    key, view = placement.key, job.view(placement)
    paid = history.trial_totals(key) + history.run_totals(key)
    successes = _runs(history.trial_totals(key, converged=True) + history.run_totals(key, converged=True))
    default = _default(job, history, placement, view)
    return PlacementSavings(
        gpu=wire_gpu(placement),
        converged_runs=successes,
        energy_joules=_saving([t.energy_joules for t in paid], successes, default.energy_joules, default.method),
        time_seconds=_saving([t.time_seconds for t in paid], successes, default.time_seconds, default.method),
        cost=_saving([_cost(view, t) for t in paid], successes, default.cost, default.method),
    )


def _default(job: Job, history: History, placement: PlacementRecord, view: PolicyJob) -> _Default:
    """Work out one run of the default: its epochs times a measured epoch, or else the mean cost of its runs."""
    key, size = placement.key, job.settings.default_batch_size
    trials = history.trial_totals(key, converged=True, batch_size=size)
    runs = history.run_totals(key, converged=True, batch_size=size)
    limit = view.power_limits_watts[0]
    record = history.latest_measurement(key, size, limit)
    if record is not None and trials and (record.cost is not None or record.steps_per_epoch is not None):
        epoch = power_measurement(view, record)
        count = _runs(trials)
        epochs = sum(total.epochs or 0.0 for total in trials) / count
        return _Default(
            _times(epoch.energy_joules, epochs),
            _times(epoch.time_seconds, epochs),
            epoch.cost * epochs,
            f"baseline: {epochs:.4g} epochs, the mean of {count} converged runs at batch size {size}, "
            f"each as the epoch measured at {limit} W",
        )
    both = trials + runs
    if not both:
        return _Default(None, None, None, f"no baseline: no run at batch size {size} has converged here")
    count = _runs(both)
    share = 1.0 / count
    return _Default(
        _times(_sum([total.energy_joules for total in both]), share),
        _times(_sum([total.time_seconds for total in both]), share),
        _times(_sum([_cost(view, total) for total in both]), share),
        f"baseline: the mean of {count} converged runs at batch size {size}, at the power limits that they had: "
        f"no epoch was measured at {limit} W",
    )


def _saving(paid: list[float | None], successes: int, one_default: float | None, method: str) -> Saving:
    actual = _sum(paid) if paid else 0.0
    baseline = _times(one_default, successes)
    if actual is None:
        method = f"{method}; not every run reported this figure"
    saved_percent = None
    if actual is not None and baseline:
        saved_percent = 100.0 * (1.0 - actual / baseline)
    return Saving(
        actual=actual,
        baseline=baseline,
        saved_percent=saved_percent,
        method=f"actual: all runs that trained, failed and stopped ones too; {method}",
    )


def _runs(totals: list[Totals]) -> int:
    return sum(total.runs for total in totals)


def _cost(view: PolicyJob, total: Totals) -> float | None:
    return view.cost(total.energy_joules, total.time_seconds) if total.cost is None else total.cost


def _sum(figures: list[float | None]) -> float | None:
    """Return the sum, or None when one of the figures is unknown."""
    known = [figure for figure in figures if figure is not None]
    return sum(known) if len(known) == len(figures) else None


def _times(figure: float | None, factor: float) -> float | None:
    return None if figure is None else figure * factor
