"""What was saved, as large figures: whether it is known, how uncertain it is, and what it is compared with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot
from typing import Literal

from rheostat.dashboard import words
from rheostat.dashboard.site import Site
from rheostat.schemas.report import JobReport, Origin, PlacementReport, SavedFigure

NOT_KNOWN = "not known yet"
"""Of savings whose interval holds both gain and loss."""

FEWEST_RUNS = 3
"""So many runs of the default must have reached the target before savings against them are more than a first sign."""

_NEXT_TO_NOTHING_PERCENT = 0.05


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure, large, with what it is and where it comes from.

    Attributes:
        label: What it is of.
        value: The figure.
        detail: How it is known.
        exact: The figure as a number.
        kind: Whether it was saved or lost, or which of them is not known yet; or that it is a plain figure.
        is_early: Whether it is too early, or too little, to call it a success or a loss.
    """

    label: str
    value: str
    detail: str
    exact: float | None = None
    kind: Literal["saved", "lost", "open", "plain"] = "plain"
    is_early: bool = False

    @property
    def tone(self) -> str:
        """The class of its colours."""
        return "early" if self.is_early and self.kind != "open" else self.kind

    @property
    def heading(self) -> str:
        """The label, with whether it was saved or lost."""
        return {"plain": self.label, "lost": f"{self.label} lost"}.get(self.kind, f"{self.label} saved")


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
    def is_open(self) -> bool:
        """Whether it is not known yet that anything was saved, or lost."""
        return self.low is not None and self.high is not None and self.low < 0.0 < self.high

    @property
    def kind(self) -> Literal["saved", "lost", "open"]:
        """Whether it was saved or lost, or which of them is not known yet."""
        if self.is_open:
            return "open"
        return "saved" if self.saved >= 0.0 else "lost"

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """The ends of the interval of what was saved; of what was lost, where that is more."""
        if self.low is None or self.high is None:
            return None, None
        return (self.low, self.high) if self.saved >= 0 else (-self.high, -self.low)

    def text(self, figure: str) -> str:
        """Return a figure of it, or that it is not known yet."""
        return NOT_KNOWN if self.is_open else figure


@dataclass(frozen=True, slots=True)
class _Basis:
    """What savings are compared with.

    Attributes:
        is_early: Whether for most of it fewer than ``FEWEST_RUNS`` runs of the default have reached the target.
        text: What is to be said of it; empty: nothing.
    """

    is_early: bool
    text: str


def tiles(reports: Sequence[JobReport], site: Site) -> list[Tile]:
    """Return what was saved in all: energy, money and emissions where their prices are known, time, cost."""
    placements = [placement for one in reports for placement in one.placements]
    basis = _basis(placements)
    energy = total([placement.energy_joules for placement in placements])
    seconds = total([placement.time_seconds for placement in placements])
    cost = total([placement.cost for placement in placements])
    found = []
    if energy is not None:
        found.append(_tile("energy", energy, words.energy, basis))
        if site.price_per_kwh is not None:
            price = f"at {words.beside(f'{site.price_per_kwh:g}', site.currency)} per kWh"
            found.append(_priced_tile("money", energy, site.price, words.Money(site.currency), price, basis=basis))
        if site.carbon_grams_per_kwh is not None:
            intensity = f"at {words.beside(f'{site.carbon_grams_per_kwh:g}', 'g')} CO₂e per kWh"
            found.append(_priced_tile("CO₂e", energy, site.carbon_grams, words.mass, intensity, basis=basis))
    if seconds is not None:
        is_simulated = seconds.origins == {"simulated"}
        label = "simulated training time" if is_simulated else "training time"
        found.append(_tile(label, seconds, words.duration, basis))
    if cost is not None:
        found.append(_tile("cost", cost, words.cost, basis))
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


def against_estimate(reports: Sequence[JobReport], job_id: str = "JOB", default: str = "BATCH_SIZE") -> str:
    """Return of how many jobs the default has not reached the target, and how to know what it needs; empty: of none.

    Args:
        reports: What the jobs saved.
        job_id: The job, where it is one.
        default: Its default batch size.
    """
    compared = [one for one in reports if any(placement.energy_joules.baseline for placement in one.placements)]
    guessed = [one for one in compared if any(placement.baseline_is_estimated for placement in one.placements)]
    if not guessed:
        return ""
    whose = "" if len(compared) == 1 else f"Of {len(guessed)} of {words.counted(len(compared), 'job')}: "
    return (
        f"{whose}Against an estimate: the default has never reached the target here, so that what it needs is not "
        f"measured. To know, force one run of it: `rheostat jobs force {job_id} {default}`."
    )


def _basis(placements: Sequence[PlacementReport]) -> _Basis:
    compared = [
        one for one in placements if one.cost.baseline or one.energy_joules.baseline or one.time_seconds.baseline
    ]
    if not compared:
        return _Basis(is_early=False, text="")
    early = [one for one in compared if one.baseline_runs < FEWEST_RUNS]
    is_early = bool(early) and 2 * _weight(early) >= _weight(compared)
    if any(one.baseline_is_estimated for one in compared):
        return _Basis(is_early, "against an estimate")
    if not is_early:
        return _Basis(is_early, "")
    runs = words.counted(compared[0].baseline_runs, "run")
    text = f"against {runs} of the default" if len(compared) == 1 else "against one or two runs of most defaults"
    return _Basis(is_early, text)


def _weight(placements: Sequence[PlacementReport]) -> float:
    """Return what some placements weigh among those that are compared: what their runs would have cost."""
    return sum(one.cost.baseline or 0.0 for one in placements)


def _priced_tile(
    label: str,
    energy: Total,
    of_joules: Callable[[float | None], float | None],
    shown: words.Quantity | words.Money,
    price: str,
    *,
    basis: _Basis,
) -> Tile:
    """Return what an energy is worth at a price."""
    value = shown(of_joules(abs(energy.saved)))
    if energy.is_open:
        low, high = of_joules(energy.low), of_joules(energy.high)
        return Tile(label, NOT_KNOWN, f"{_between(low, high, shown)}, {price}", of_joules(energy.saved), "open")
    low, high = map(of_joules, energy.ends)
    interval = "" if low is None or high is None else shown.interval(low, high, "and")
    detail = f"{price}, {words.percent(95)} between {interval}" if interval else price
    return Tile(label, value, detail, of_joules(energy.saved), energy.kind, is_early=_is_early(energy, basis))


def _tile(label: str, figure: Total, shown: words.Quantity, basis: _Basis) -> Tile:
    parts = [words.saved_percent(figure.percent or 0.0)]
    if figure.is_open:
        parts = [_between(figure.low, figure.high, shown), f"expected {parts[0]}"]
    elif None not in figure.ends:
        parts.append(f"{words.percent(95)} between {shown.interval(*figure.ends, 'and')}")
    parts += [basis.text] if basis.text else []
    parts.append(" and ".join(sorted(figure.origins)))
    value = figure.text(shown(abs(figure.saved)))
    return Tile(label, value, ", ".join(parts), figure.saved, figure.kind, is_early=_is_early(figure, basis))


def _is_early(figure: Total, basis: _Basis) -> bool:
    return basis.is_early or abs(figure.percent or 0.0) < _NEXT_TO_NOTHING_PERCENT


def _between(low: float | None, high: float | None, shown: words.Quantity | words.Money) -> str:
    return f"{words.percent(95)} between {shown(-(low or 0.0))} more and {shown(high)} less"
