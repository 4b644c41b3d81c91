"""What the page of a job shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rheostat.dashboard import words
from rheostat.dashboard.site import Site
from rheostat.dashboard.views import arms as arm_views
from rheostat.dashboard.views.attention import Attention, troubles
from rheostat.dashboard.views.log import Entry, TrialRow, decision_log, trial_row
from rheostat.dashboard.views.next_run import NextRun, next_run
from rheostat.dashboard.views.report import INTERVAL_COVERS, how_got
from rheostat.dashboard.views.savings import Tile, against_estimate, tiles
from rheostat.schemas.calibration import Calibration
from rheostat.schemas.insight import PlacementEstimates
from rheostat.schemas.report import JobReport, PlacementReport
from rheostat.schemas.review import PowerCurves
from rheostat.schemas.server import Gpu, JobSettings
from rheostat.schemas.summary import JobSummary
from rheostat.schemas.trials import Trial, TrialDetail
from rheostat.visualization.arms import arms
from rheostat.visualization.calibration import calibration
from rheostat.visualization.costs import account, costs
from rheostat.visualization.power import energy_against_time, power_curves
from rheostat.visualization.style import Figure
from rheostat.visualization.timeline import timeline

MOST_BARS = 100
"""So many of the latest runs are on the timeline: more would be thinner than a pixel."""


@dataclass(frozen=True, slots=True)
class ArmRow:
    """A line of the table of batch sizes."""

    batch_size: int
    is_default: bool
    is_best: bool
    is_closed: bool
    runs: int
    cost: str
    interval: str
    epochs: str
    power_limit: str
    chance: float | None
    status: str


@dataclass(frozen=True, slots=True)
class PlacementView:
    """One placement of a job: a GPU model and count."""

    index: int
    name: str
    is_shown: bool


@dataclass(frozen=True, slots=True)
class JobView:
    """The page of a job, for one of its placements."""

    job_id: str
    metric: str | None
    facts: list[tuple[str, str]]
    placements: list[PlacementView]
    tiles: list[Tile]
    nothing_saved: str
    against_estimate: str
    method: str
    recommended: arm_views.Recommendation | None
    upcoming: NextRun | None
    latest: TrialRow | None
    attention: list[Attention]
    arms: list[ArmRow]
    costs: Figure | None
    account: Figure | None
    believed: Figure | None
    power: Figure | None
    front: Figure | None
    predictions: str
    calibration: Figure | None
    timeline: Figure | None
    is_simulated: bool
    is_power_only: bool
    log: list[Entry]
    running: int


def job_view(
    summary: JobSummary,
    trials: Sequence[TrialDetail],
    curves: PowerCurves,
    site: Site,
    now: datetime,
    *,
    predicted: Calibration,
    placement: int | None = None,
    upcoming: Trial | None = None,
) -> JobView:
    """Return the page of a job.

    Args:
        summary: The job.
        trials: Its latest trials, newest first.
        curves: Its power curves.
        site: The prices.
        now: The time.
        predicted: How well its costs were predicted.
        placement: Which of its placements to show; None: the one of its latest trial.
        upcoming: What its next run there trains with; None: nothing can be said of it.
    """
    gpus = [one.gpu for one in summary.job.placements]
    at = _index(gpus, trials, placement)
    settings = summary.job.settings
    believed = None if summary.estimates is None or at is None else summary.estimates.placements[at]
    report = None if at is None else summary.report.placements[at]
    reports = [] if report is None else [JobReport(job_id=summary.job.job_id, placements=[report])]
    alone = settings.is_power_only
    is_idle = alone and at is not None and gpus[at].max_power_limit_watts is None
    here = [] if at is None else [trial for trial in trials if trial.gpu.is_placed_with(gpus[at])]
    return JobView(
        job_id=summary.job.job_id,
        metric=None if settings.target is None else settings.target.metric,
        facts=facts(settings),
        placements=[PlacementView(i, _name(gpu), i == at) for i, gpu in enumerate(gpus)],
        tiles=[] if is_idle else tiles(reports, site),
        nothing_saved=_nothing_saved(settings, is_idle=is_idle),
        against_estimate=against_estimate(reports, summary.job.job_id, str(settings.default_batch_size)),
        method="" if is_idle else _method(report),
        recommended=arm_views.recommendation(believed, is_power_only=alone),
        upcoming=next_run(upcoming, believed, is_power_only=alone),
        latest=trial_row(here[0], now) if here else None,
        attention=troubles(summary),
        arms=arm_rows(believed, settings.default_batch_size),
        costs=costs(here, believed, settings.default_batch_size, settings.batch_sizes)
        if any(trial.cost is not None for trial in here)
        else None,
        account=account(here, believed, settings.default_batch_size) if len(trials) == summary.job.trials else None,
        believed=None
        if believed is None or all(arm.cost is None for arm in believed.arms)
        else arms(believed, here, settings.default_batch_size),
        power=None if at is None else power_curves(curves.placements[at], settings.batch_sizes),
        front=energy_against_time(here, settings.batch_sizes),
        predictions="" if at is None else predicted.placements[at].statement,
        calibration=None if at is None else calibration(predicted.placements[at]),
        timeline=timeline(here[:MOST_BARS], now),
        is_simulated=any(trial.gpu.simulated for trial in here),
        is_power_only=alone,
        log=decision_log(here, now),
        running=sum(trial.state == "running" for trial in trials),
    )


def shown_gpu(summary: JobSummary, trials: Sequence[TrialDetail], placement: int | None) -> Gpu | None:
    """Return the GPUs of the placement that is shown; None: the job has run on none yet."""
    gpus = [one.gpu for one in summary.job.placements]
    at = _index(gpus, trials, placement)
    return None if at is None else gpus[at]


def facts(settings: JobSettings) -> list[tuple[str, str]]:
    """Return a job's settings as they are worth showing."""
    target = settings.target
    sign = "" if target is None else {"maximize": "≥", "minimize": "≤"}[target.direction]
    epochs = words.counted(settings.max_epochs, "epoch")
    return [
        *([("target", f"{target.metric} {sign} {target.value:g}"), ("at most", epochs)] if target else []),
        *([] if target else [("trains", epochs)]),
        ("chooses", "the power limit alone")
        if settings.is_power_only
        else ("default", f"batch size {settings.default_batch_size}"),
        ("eta_knob", f"{settings.eta_knob:g}, {_weight(settings.eta_knob)}"),
        ("beta_knob", _bound(settings.beta_knob)),
        ("policy", settings.policy),
    ]


def arm_rows(believed: PlacementEstimates | None, default_batch_size: int) -> list[ArmRow]:
    """Return the table of batch sizes."""
    return [
        ArmRow(
            batch_size=arm.batch_size,
            is_default=arm.batch_size == default_batch_size,
            is_best=arm.status == "best known",
            is_closed=arm.status.startswith(("closed", "left out")),
            runs=arm.runs,
            cost=words.cost(arm.cost),
            interval="" if arm.cost_low is None else words.cost.interval(arm.cost_low, arm.cost_high),
            epochs=words.UNKNOWN if arm.epochs is None else words.significant(arm.epochs),
            power_limit=words.watts(arm.power_limit_watts),
            chance=None if arm.probability_best is None else 100.0 * arm.probability_best,
            status=arm.status,
        )
        for arm in (() if believed is None else believed.arms)
    ]


def _weight(eta_knob: float) -> str:
    """Return how energy weighs against time, in words."""
    if eta_knob in (0.0, 1.0):
        return "energy alone" if eta_knob else "time alone"
    return "energy and time alike" if eta_knob == 0.5 else f"energy weighs {words.percent(100.0 * eta_knob)}"  # noqa: PLR2004


def _bound(beta_knob: float | None) -> str:
    if beta_knob is None:
        return "none, a run may cost anything"
    return f"{beta_knob:g}, a run stops at {beta_knob:g} \N{MULTIPLICATION SIGN} the lowest cost"


def _index(gpus: Sequence[Gpu], trials: Sequence[TrialDetail], wanted: int | None) -> int | None:
    if not gpus:
        return None
    if wanted is not None and wanted < len(gpus):
        return wanted
    at = [i for i, gpu in enumerate(gpus) if trials and gpu.is_placed_with(trials[0].gpu)]
    return at[0] if at else 0


def _name(gpu: Gpu) -> str:
    more = [
        *(["module power"] if gpu.power_scope == "module" else []),
        *([gpu.power_profile] if gpu.power_profile else []),
    ]
    return words.gpu(gpu.model, gpu.count) + (f" ({', '.join(more)})" if more else "")


def _nothing_saved(settings: JobSettings, *, is_idle: bool) -> str:
    """Return what to say where there are no figures of what was saved."""
    if is_idle:
        return "Power limit only; without an agent nothing is changed or saved."
    return f"What was saved shows once a run has {'ended' if settings.target is None else 'reached its target'}."


def _method(report: PlacementReport | None) -> str:
    if report is None:
        return ""
    is_sure = all(figure.saved_low is None for figure in (report.energy_joules, report.time_seconds, report.cost))
    return how_got(report) if is_sure else f"{how_got(report)} {INTERVAL_COVERS}"
