"""The large figures: each with its uncertainty, and how it was got."""

import pytest

from rheostat.dashboard.site import Site
from rheostat.dashboard.views.report import basis, how_got, report_rows
from rheostat.dashboard.views.savings import against_estimate, tiles
from rheostat.schemas.report import JobReport, Origin, PlacementReport, SavedFigure
from tests.dashboard.test_words import plain
from tests.domain.examples import V100

SITE = Site("Lab", price_per_kwh=0.5, currency="EUR", carbon_grams_per_kwh=400.0)


def saved(
    joules: float, origin: Origin = "measured", *, low: float = 0.5, is_estimate: bool = False, runs: int = 3
) -> JobReport:
    """Return the report of a job that saved half of twice an energy, or as little as a share of that."""
    figure = SavedFigure(
        actual=joules,
        baseline=2 * joules,
        saved=joules,
        saved_low=low * joules,
        saved_high=2 * joules,
        saved_percent=50.0,
        origin=origin,
        method="",
    )
    placement = PlacementReport(
        gpu=V100,
        converged_runs=1,
        baseline_is_estimated=is_estimate,
        baseline_runs=0 if is_estimate else runs,
        energy_joules=figure,
        time_seconds=figure,
        cost=figure,
    )
    return JobReport(job_id="nightly", placements=[placement])


def details(joules: float, *origins: Origin) -> dict[str, str]:
    """Return the detail of each tile of jobs that saved half of twice the energy, with how that is known."""
    found = tiles([saved(joules, origin) for origin in origins], SITE)
    return {tile.label: plain(tile.detail) for tile in found}


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


def test_what_may_as_well_be_a_loss_is_not_shown_as_saved() -> None:
    found = {tile.label: tile for tile in tiles([saved(1000.0, low=-0.5)], SITE)}
    assert {tile.kind for tile in found.values()} == {"open"}
    energy = found["energy"]
    assert (energy.heading, energy.value) == ("energy saved", "not known yet")
    assert plain(energy.detail).startswith("95 % between 500 J more and 2.00 kJ less, expected 50 % less")
    row = report_rows([saved(1000.0, low=-0.5)])[0]
    assert (row.energy_percent, plain(row.interval)) == ("not known yet", "500 J more to 2.00 kJ less")


def test_what_is_known_says_less_or_more_instead_of_a_sign() -> None:
    row = report_rows([saved(36e6)])[0]
    shown = [plain(text) for text in (row.energy, row.interval, row.time_percent)]
    assert shown == ["10.0 kWh less", "5.0 to 20.0 kWh less", "50 % less"]


def test_a_default_that_has_never_run_is_said_to_be_an_estimate_with_how_to_know() -> None:
    guessed = [saved(1000.0, is_estimate=True)]
    assert all("against an estimate" in tile.detail for tile in tiles(guessed, Site("")))
    assert "`rheostat jobs force nightly 32`" in against_estimate(guessed, "nightly", "32")
    assert "Of 1 of 2 jobs: Against an estimate" in basis([*guessed, saved(1000.0)])
    assert "estimate" not in basis([saved(1000.0)])


def test_simulated_time_is_called_so() -> None:
    assert "simulated training time" in details(1000.0, "simulated")


@pytest.mark.parametrize(("runs", "tone"), [(1, "early"), (2, "early"), (3, "saved")])
def test_savings_against_one_or_two_runs_of_the_default_are_no_success_yet(runs: int, tone: str) -> None:
    found = tiles([saved(36e6, runs=runs)], SITE)
    assert {tile.tone for tile in found} == {tone}
    words = f"against {runs} run{'' if runs == 1 else 's'} of the default"
    assert (words in plain(found[0].detail)) == (tone == "early")
    assert found[0].heading == "energy saved"


def test_a_sum_is_as_sure_as_most_of_what_it_compares_with() -> None:
    sure, early = saved(36e6), saved(1e6, runs=1)
    assert {tile.tone for tile in tiles([sure, early], SITE)} == {"saved"}
    found = tiles([early, early], SITE)
    assert {tile.tone for tile in found} == {"early"}
    assert "against one or two runs of most defaults" in found[0].detail


def test_what_saves_next_to_nothing_is_no_success() -> None:
    (report,) = [saved(1000.0)]
    (placement,) = report.placements
    same = placement.cost.model_copy(update={"baseline": 1000.0, "saved": 0.0, "saved_low": None, "saved_high": None})
    figures = dict.fromkeys(("energy_joules", "time_seconds", "cost"), same)
    nothing = report.model_copy(update={"placements": [placement.model_copy(update=figures)]})
    assert {tile.tone for tile in tiles([nothing], SITE)} == {"early"}


def test_how_each_figure_was_got_is_said_by_its_name() -> None:
    (placement,) = saved(1000.0).placements
    figures = {
        "energy_joules": placement.energy_joules.model_copy(update={"method": "not reported by any run"}),
        "time_seconds": placement.time_seconds.model_copy(update={"method": "all runs"}),
        "cost": placement.cost.model_copy(update={"method": "all runs"}),
    }
    said = how_got(placement.model_copy(update=figures))
    assert said == "Energy: not reported by any run. Time, cost: all runs."


def test_what_was_never_compared_has_no_origin() -> None:
    report = saved(0.0)
    assert report_rows([report])[0].origin == "\N{EN DASH}"
