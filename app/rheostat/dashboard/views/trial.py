"""What the page of a trial shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rheostat.dashboard import words
from rheostat.dashboard.site import Site
from rheostat.dashboard.views.log import TrialRow, trial_row
from rheostat.dashboard.views.savings import Tile
from rheostat.schemas.review import Observation
from rheostat.schemas.server import JobDetail
from rheostat.schemas.trials import TrialDetail
from rheostat.visualization.style import Figure
from rheostat.visualization.trials import learning_curve, power_by_epoch


@dataclass(frozen=True, slots=True)
class Reports:
    """What a trial reported.

    Attributes:
        drawn: The reports that its figures show.
        listed: Those that the table shows.
        total: How many there are.
    """

    drawn: Sequence[Observation]
    listed: Sequence[Observation]
    total: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """The run that a trial is compared with: a converged one of the best known batch size."""

    trial: TrialDetail
    observations: Sequence[Observation]


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A line of the table of reports."""

    epoch: str
    metric: str
    energy: str
    time: str
    reason: str


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag; one whose value is an address is a link."""

    key: str
    value: str

    @property
    def is_link(self) -> bool:
        """Whether the value is the address of a page: no other scheme is followed."""
        return self.value.lower().startswith(("http://", "https://"))


@dataclass(frozen=True, slots=True)
class TrialView:
    """The page of a trial."""

    job_id: str
    row: TrialRow
    facts: list[tuple[str, str]]
    tags: list[Tag]
    tiles: list[Tile]
    warnings: list[str]
    energy_estimate: str
    curve: Figure | None
    power: Figure | None
    reports: list[ReportRow]
    total: int
    left_out: str


def trial_view(
    trial: TrialDetail,
    job: JobDetail,
    reports: Reports,
    comparison: Comparison | None,
    *,
    site: Site,
    now: datetime,
) -> TrialView:
    """Return the page of a trial.

    Args:
        trial: The trial.
        job: Its job.
        reports: Its reports.
        comparison: The run to compare it with; None: there is none.
        site: The prices.
        now: The time.
    """
    other: Sequence[Observation] = () if comparison is None else comparison.observations
    other_name = (
        "" if comparison is None else f"run {comparison.trial.number}, best known, {comparison.trial.batch_size}"
    )
    return TrialView(
        job_id=trial.job_id,
        row=trial_row(trial, now),
        facts=_facts(trial),
        tags=[Tag(key, value) for key, value in trial.tags.items()],
        tiles=_tiles(trial, comparison, site),
        warnings=trial.warnings,
        energy_estimate=words.sentence(trial.energy_estimate or ""),
        curve=learning_curve(reports.drawn, job.settings.target, other, other_name),
        power=power_by_epoch(reports.drawn, trial.power_limit_watts, trial.gpu.count),
        reports=[_report_row(one) for one in reports.listed],
        total=reports.total,
        left_out=""
        if len(reports.drawn) == reports.total
        else f"Drawn are {len(reports.drawn)} of {words.counted(reports.total, 'report')}.",
    )


def _facts(trial: TrialDetail) -> list[tuple[str, str]]:
    gpu = trial.gpu
    found = [("GPU", words.gpu(gpu.model, gpu.count))]
    found += [("node", trial.node)] if trial.node else []
    found += [("batch size", str(trial.batch_size))]
    found += [("learning rate", f"{trial.learning_rate:g}")] if trial.learning_rate is not None else []
    if trial.power_limit_watts is not None:
        found.append(("power limit", words.watts(trial.power_limit_watts)))
    elif trial.profile_power_limits_watts:
        found.append(("measures", words.beside(", ".join(map(str, trial.profile_power_limits_watts)), "W")))
    return found


def _tiles(trial: TrialDetail, comparison: Comparison | None, site: Site) -> list[Tile]:
    other = None if comparison is None or comparison.trial.trial_id == trial.trial_id else comparison.trial

    def against(name: str) -> str:
        figure, others = getattr(trial, name), None if other is None else getattr(other, name)
        if figure is None or not others or other is None:
            return ""
        return f"{words.saved_percent(100 * (1 - figure / others))} than run {other.number}"

    price = site.price(trial.energy_joules)
    money = "" if price is None else words.Money(site.currency)(price)
    found = [
        Tile("cost", words.cost(trial.cost), against("cost"), trial.cost),
        Tile(
            "energy",
            words.energy(trial.energy_joules),
            ", ".join(filter(None, (money, against("energy_joules")))),
            trial.energy_joules,
        ),
        Tile(
            "simulated time" if trial.gpu.simulated else "time",
            words.duration(trial.time_seconds),
            against("time_seconds"),
            trial.time_seconds,
        ),
        Tile("epochs", f"{trial.epochs:g}" if trial.epochs is not None else words.UNKNOWN, "", trial.epochs),
    ]
    if trial.metric is not None:
        found.append(Tile("metric", f"{trial.metric:.5g}", "", trial.metric))
    return found


def _report_row(one: Observation) -> ReportRow:
    return ReportRow(
        epoch=f"{one.epoch:g}",
        metric=words.UNKNOWN if one.metric is None else f"{one.metric:.5g}",
        energy=words.energy(one.energy_joules),
        time=words.duration(one.time_seconds),
        reason=words.sentence(one.reason),
    )
