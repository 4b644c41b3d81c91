"""The savings report of a job: what it saved, how sure that is, and where the figures come from."""

from rheostat.domain import insight
from rheostat.domain.history import History
from rheostat.domain.job import Job
from rheostat.errors import RheostatError
from rheostat.schemas.insight import Estimates, PlacementEstimates, PlacementSavings, Saving, Savings
from rheostat.schemas.report import JobReport, Origin, PlacementReport, SavedFigure
from rheostat.schemas.server import Gpu


def report(savings: Savings, estimates: Estimates | None, default_batch_size: int) -> JobReport:
    """Return the report of a job.

    Args:
        savings: What it saved.
        estimates: What the policy believes of its arms; None: nothing, and nothing is said of uncertainty.
        default_batch_size: Its default.
    """
    believed = {} if estimates is None else {placement.gpu: placement for placement in estimates.placements}
    return JobReport(
        job_id=savings.job_id,
        placements=[
            _placement(placement, _spread(believed.get(placement.gpu), default_batch_size))
            for placement in savings.placements
        ],
    )


def job_report(job: Job, history: History) -> JobReport:
    """Return the report of a job; without uncertainty where its policy fails."""
    try:
        believed = insight.estimates(job)
    except RheostatError:
        believed = None
    return report(insight.savings(job, history), believed, job.settings.default_batch_size)


def is_simulated(gpu: Gpu) -> bool:
    """Return whether the figures of a GPU are simulated: it says so in its name."""
    return "simulated" in gpu.model.lower()


def _placement(savings: PlacementSavings, spread: tuple[float, float] | None) -> PlacementReport:
    origin: Origin = "simulated" if is_simulated(savings.gpu) else "measured"
    energy: Origin = "estimated" if savings.energy_is_estimated and origin == "measured" else origin
    return PlacementReport(
        gpu=savings.gpu,
        converged_runs=savings.converged_runs,
        energy_joules=_figure(savings.energy_joules, energy, spread),
        time_seconds=_figure(savings.time_seconds, origin, spread),
        cost=_figure(savings.cost, energy, spread),
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
