"""What the home page shows: what was saved in all, what wants attention, what runs, and the jobs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import hypot

from rheostat.dashboard import words
from rheostat.dashboard.site import Site
from rheostat.dashboard.views import arms
from rheostat.dashboard.views.attention import Attention, attention, ranked
from rheostat.dashboard.views.report import basis
from rheostat.schemas.report import JobReport, Origin, SavedFigure
from rheostat.schemas.summary import JobSummary, UnreadableJob
from rheostat.visualization.savings import saved_by_day
from rheostat.visualization.style import Figure


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure, large, with what it is and where it comes from."""

    label: str
    value: str
    detail: str
    exact: float | None = None
    is_loss: bool = False


@dataclass(frozen=True, slots=True)
class JobRow:
    """A line of the list of jobs."""

    job_id: str
    gpus: str
    trials: int
    state: str
    state_reason: str
    ago: str
    latest_at: datetime | None
    best: str
    saved_percent: float | None
    saved: str


@dataclass(frozen=True, slots=True)
class Total:
    """Sums of one figure over placements: those of which it is known."""

    actual: float
    baseline: float
    low: float | None
    high: float | None
    origins: frozenset[Origin]

    @property
    def saved(self) -> float:
        """What was saved; negative: more was used."""
        return self.baseline - self.actual

    @property
    def percent(self) -> float | None:
        """The share of the baseline that was saved, in percent."""
        return 100.0 * self.saved / self.baseline if self.baseline else None

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """The ends of the interval of what was saved; of what was lost, where that is more."""
        if self.low is None or self.high is None:
            return None, None
        return (self.low, self.high) if self.saved >= 0 else (-self.high, -self.low)


@dataclass(frozen=True, slots=True)
class Home:
    """The home page."""

    tiles: list[Tile]
    basis: str
    figure: Figure | None
    attention: list[Attention]


def home(
    summaries: Sequence[JobSummary], unreadable: Sequence[UnreadableJob], saved_joules: Mapping[date, float], site: Site
) -> Home:
    """Return what the home page shows of jobs.

    Args:
        summaries: The jobs that can be shown.
        unreadable: The others.
        saved_joules: What they saved on each day.
        site: The prices.
    """
    reports = [summary.report for summary in summaries]
    noted = [Attention(job.job_id, "error", f"Not shown or counted: {job.reason}") for job in unreadable]
    noted += [one for summary in summaries for one in attention(summary)]
    return Home(
        tiles=tiles(reports, site),
        basis=basis(reports),
        figure=saved_by_day({day: joules / words.JOULES_PER_KWH for day, joules in saved_joules.items()}),
        attention=ranked(noted),
    )


def tiles(reports: Sequence[JobReport], site: Site) -> list[Tile]:
    """Return what was saved in all: energy, money and emissions where their prices are known, time, cost."""
    energy = total([placement.energy_joules for one in reports for placement in one.placements])
    seconds = total([placement.time_seconds for one in reports for placement in one.placements])
    cost = total([placement.cost for one in reports for placement in one.placements])
    found = []
    if energy is not None:
        found.append(_tile("energy", energy, words.energy))
        if site.price_per_kwh is not None:
            price = f"at {words.beside(f'{site.price_per_kwh:g}', site.currency)} per kWh"
            found.append(_priced_tile("money", energy, site.price, words.Money(site.currency), price))
        if site.carbon_grams_per_kwh is not None:
            intensity = f"at {words.beside(f'{site.carbon_grams_per_kwh:g}', 'g')} CO₂e per kWh"
            found.append(_priced_tile("CO₂e", energy, site.carbon_grams, words.mass, intensity))
    if seconds is not None:
        found.append(_tile("training time", seconds, words.duration))
    if cost is not None:
        found.append(_tile("cost", cost, words.cost))
    return found


def total(figures: Sequence[SavedFigure]) -> Total | None:
    """Return the sums of a figure; None where it is known of nothing.

    The uncertainties of placements are taken to be independent.
    """
    known = [figure for figure in figures if figure.actual is not None and figure.baseline]
    if not known:
        return None
    actual = sum(figure.actual or 0.0 for figure in known)
    baseline = sum(figure.baseline or 0.0 for figure in known)
    sure = [figure for figure in known if figure.saved_low is not None]
    low = hypot(*((figure.saved or 0.0) - (figure.saved_low or 0.0) for figure in sure))
    high = hypot(*((figure.saved_high or 0.0) - (figure.saved or 0.0) for figure in sure))
    saved = baseline - actual
    origins = frozenset(figure.origin for figure in known)
    return Total(actual, baseline, saved - low if sure else None, saved + high if sure else None, origins)


def job_row(summary: JobSummary, now: datetime) -> JobRow:
    """Return a job's line in the list."""
    job, latest = summary.job, summary.latest
    placements = [] if summary.estimates is None else summary.estimates.placements
    best = [found.text for placement in placements if (found := arms.recommendation(placement)) is not None]
    energy = total([placement.energy_joules for placement in summary.report.placements])
    cost = total([placement.cost for placement in summary.report.placements])
    latest_at = None if latest is None else latest.ended_at or latest.created_at
    return JobRow(
        job_id=job.job_id,
        gpus=", ".join(words.gpu(one.gpu.model, one.gpu.count) for one in job.placements) or words.UNKNOWN,
        trials=job.trials,
        state=latest.state if latest else "imported" if cost else "never run",
        state_reason="" if latest is None else latest.state_reason or latest.reason,
        ago="" if latest_at is None else words.ago(latest_at, now),
        latest_at=latest_at,
        best=" / ".join(best) or words.UNKNOWN,
        saved_percent=None if cost is None else cost.percent,
        saved=words.UNKNOWN if energy is None else words.energy(energy.saved),
    )


def _priced_tile(
    label: str,
    energy: Total,
    of_joules: Callable[[float | None], float | None],
    shown: words.Quantity | words.Money,
    price: str,
) -> Tile:
    """Return what an energy is worth at a price."""
    low, high = map(of_joules, energy.ends)
    interval = "" if low is None or high is None else shown.interval(low, high, "and")
    detail = f"{price}, {words.percent(95)} between {interval}" if interval else price
    return Tile(label, shown(of_joules(abs(energy.saved))), detail, of_joules(energy.saved), energy.saved < 0)


def _tile(label: str, figure: Total, shown: words.Quantity) -> Tile:
    parts = [f"{words.percent(abs(figure.percent or 0.0))} {'less' if figure.saved >= 0 else 'more'}"]
    if None not in figure.ends:
        parts.append(f"{words.percent(95)} between {shown.interval(*figure.ends, 'and')}")
    parts.append(" and ".join(sorted(figure.origins)))
    return Tile(label, shown(abs(figure.saved)), ", ".join(parts), figure.saved, figure.saved < 0)
