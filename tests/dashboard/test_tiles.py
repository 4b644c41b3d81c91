"""The large figures: each with its uncertainty, and how it was got."""

from rheostat.dashboard.site import Site
from rheostat.dashboard.views.home import tiles
from rheostat.schemas.report import JobReport, Origin, PlacementReport, SavedFigure
from tests.domain.examples import V100

SITE = Site("Lab", price_per_kwh=0.5, currency="EUR", carbon_grams_per_kwh=400.0)


def details(joules: float, *origins: Origin) -> dict[str, str]:
    """Return the detail of each tile of jobs that saved half of twice the energy, with how that is known."""

    def report(origin: Origin) -> JobReport:
        figure = SavedFigure(
            actual=joules,
            baseline=2 * joules,
            saved=joules,
            saved_low=joules / 2,
            saved_high=2 * joules,
            saved_percent=50.0,
            origin=origin,
            method="",
        )
        placement = PlacementReport(gpu=V100, converged_runs=1, energy_joules=figure, time_seconds=figure, cost=figure)
        return JobReport(job_id="nightly", placements=[placement])

    found = tiles([report(origin) for origin in origins], SITE)
    return {tile.label: tile.detail.replace("\N{NO-BREAK SPACE}", " ") for tile in found}


def test_every_tile_has_an_interval() -> None:
    for label, detail in details(36e6, "measured").items():
        assert " 95 % between " in detail, label


def test_money_and_emissions_are_as_uncertain_as_the_energy() -> None:
    shown = details(36e6, "measured")
    assert shown["energy"] == "50 % less, 95 % between 5.0 and 20.0 kWh, measured"
    assert shown["money"] == "at 0.5 EUR per kWh, 95 % between 2.50 and 10.00 EUR"
    assert shown["CO₂e"] == "at 400 g CO₂e per kWh, 95 % between 2.00 and 8.00 kg"


def test_an_interval_too_small_to_read_is_left_out() -> None:
    assert details(36.0, "measured")["money"] == "at 0.5 EUR per kWh"


def test_a_sum_says_how_all_of_its_parts_are_known() -> None:
    assert details(36e6, "simulated", "measured")["energy"].endswith(", measured and simulated")
