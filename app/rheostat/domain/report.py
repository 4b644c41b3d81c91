"""The savings report of a job: what it saved, how sure that is, and where the figures come from."""

from collections.abc import Mapping, Sequence
from datetime import date

from rheostat.domain import insight
from rheostat.domain.history import History
from rheostat.domain.job import Job
from rheostat.domain.records import PlacementKey
from rheostat.errors import RheostatError
from rheostat.policy.interface import Job as PolicyJob
from rheostat.schemas.insight import Estimates, PlacementEstimates, PlacementSavings, Saving
from rheostat.schemas.report import JobReport, Origin, PlacementReport, SavedFigure
from rheostat.schemas.review import DayUse
from rheostat.schemas.server import Gpu


def estimates_or_failure(job: Job) -> tuple[Estimates | None, str | None]:
    """Return what the policy believes of a job, or why it fails."""
    try:
        return insight.estimates(job), None
    except RheostatError as error:
        return None, error.message


def job_report(job: Job, history: History, estimates: Estimates | None) -> JobReport:
    """Return the report of a job.

    Args:
        job: The job.
        history: Its past.
        estimates: What its policy believes; None: it fails, and nothing is said of uncertainty.
    """
    believed = {placement.gpu: placement for placement in (estimates.placements if estimates is not None else ())}
    default = job.settings.default_batch_size
    return JobReport(
        job_id=job.job_id,
        placements=[
            _placement(placement, _spread(believed.get(placement.gpu), default))
            for placement in insight.savings(job, history, estimates).placements
        ],
    )


def since(job: Job, whole: JobReport, use: Mapping[PlacementKey, Sequence[DayUse]], first_day: date) -> JobReport:
    """Return the report of the runs that ended on a day or later.

    Args:
        job: The job.
        whole: Its report over all time: it says what a run of the default costs.
        use: By placement what was used on each day.
        first_day: The day.
    """
    placements = []
    for placement, (key, days) in zip(whole.placements, use.items(), strict=True):
        counted = [day for day in days if day.day >= first_day]
        view = job.view(job.placements[key])
        placements.append(_since(placement, counted, view))
    return JobReport(job_id=whole.job_id, placements=placements)


def is_simulated(gpu: Gpu) -> bool:
    """Return whether the figures of a GPU are simulated: the run says so, or, in an older release, the GPU's name."""
    return gpu.simulated or "simulated" in gpu.model.lower()


def _placement(savings: PlacementSavings, spread: tuple[float, float] | None) -> PlacementReport:
    origin: Origin = "simulated" if is_simulated(savings.gpu) else "measured"
    energy: Origin = "estimated" if savings.energy_is_estimated and origin == "measured" else origin
    return PlacementReport(
        gpu=savings.gpu,
        converged_runs=savings.converged_runs,
        baseline_is_estimated=savings.baseline_is_estimated,
        baseline_runs=savings.baseline_runs,
        energy_joules=_figure(savings.energy_joules, energy, spread),
        time_seconds=_figure(savings.time_seconds, origin, spread),
        cost=_figure(savings.cost, energy, spread),
    )


def _since(whole: PlacementReport, days: Sequence[DayUse], view: PolicyJob) -> PlacementReport:
    converged = sum(day.converged_runs for day in days)
    with_energy = converged - sum(day.converged_without_energy for day in days)
    energy, seconds = sum(day.energy_joules for day in days), sum(day.time_seconds for day in days)
    is_known = not any(day.runs_without_energy for day in days)
    runs = whole.converged_runs
    return PlacementReport(
        gpu=whole.gpu,
        converged_runs=converged,
        baseline_is_estimated=whole.baseline_is_estimated,
        baseline_runs=whole.baseline_runs,
        energy_joules=_part(whole.energy_joules, energy, runs and with_energy / runs),
        time_seconds=_part(whole.time_seconds, seconds, runs and converged / runs),
        cost=_part(whole.cost, view.cost(energy, seconds) if is_known else None, runs and converged / runs),
    )


def _part(whole: SavedFigure, actual: float | None, share: float) -> SavedFigure:
    """Return a figure of some of the runs, of which a share of all converged runs is."""
    baseline = None if whole.baseline is None else whole.baseline * share
    saved = None if actual is None or baseline is None else baseline - actual
    spread = None
    if saved is not None and whole.saved_low is not None and whole.saved_high is not None and whole.saved is not None:
        spread = (share * (whole.saved_low - whole.saved), share * (whole.saved_high - whole.saved))
    return SavedFigure(
        actual=actual,
        baseline=baseline,
        saved=saved,
        saved_low=None if spread is None or saved is None else saved + spread[0],
        saved_high=None if spread is None or saved is None else saved + spread[1],
        saved_percent=None if saved is None or not baseline else 100.0 * saved / baseline,
        origin="unknown" if actual is None else whole.origin,
        method=f"runs that ended in that time; a run of the default as over all time: {whole.method}",
    )


def _figure(saving: Saving, origin: Origin, spread: tuple[float, float] | None) -> SavedFigure:
    actual, baseline = saving.actual, saving.baseline
    saved = None if actual is None or baseline is None else baseline - actual
    low, high = (None, None) if spread is None or saved is None else _ends(saved, baseline or 0.0, spread)
    return SavedFigure(
        actual=actual,
        baseline=baseline,
        saved=saved,
        saved_low=low,
        saved_high=high,
        saved_percent=saving.saved_percent,
        origin="unknown" if actual is None else origin,
        method=saving.method,
    )


def _ends(saved: float, baseline: float, spread: tuple[float, float]) -> tuple[float, float]:
    return saved + baseline * (spread[0] - 1.0), saved + baseline * (spread[1] - 1.0)


def _spread(believed: PlacementEstimates | None, default_batch_size: int) -> tuple[float, float] | None:
    """Return the 95 % interval of the epochs of the default, as multiples of what is expected."""
    arms = [] if believed is None else [arm for arm in believed.arms if arm.batch_size == default_batch_size]
    for arm in arms:
        if arm.epochs and arm.epochs_low is not None and arm.epochs_high is not None:
            return arm.epochs_low / arm.epochs, arm.epochs_high / arm.epochs
    return None
