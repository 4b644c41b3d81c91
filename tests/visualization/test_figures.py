"""The figures: their numbers are those of the answers, and Plotly accepts them."""

from datetime import date
from typing import Any

import plotly.graph_objects as go
import pytest

from rheostat.schemas.server import Target
from rheostat.visualization.arms import arms
from rheostat.visualization.calibration import calibration
from rheostat.visualization.costs import account, costs
from rheostat.visualization.power import energy_against_time, power_curves
from rheostat.visualization.savings import saved_by_day
from rheostat.visualization.style import ACCENT, MUTED, WARNING, Figure, cost_text, counting_axis, plain, size_colours
from rheostat.visualization.trials import learning_curve, power_by_epoch
from tests.visualization.conftest import Explored

TARGET = Target(metric="accuracy", value=0.9, direction="maximize")


def trace(figure: Figure | None, name: str) -> dict[str, Any]:
    assert figure is not None
    go.Figure(figure)  # it raises where Plotly does not know an attribute
    (found,) = [one for one in figure["data"] if one["name"] == name]
    return dict(found)


def test_every_run_with_a_cost_is_a_point_of_its_batch_size(explored: Explored) -> None:
    figure = costs(explored.trials, explored.estimates, 32, explored.job.settings.batch_sizes)
    shown = {
        (number, cost)
        for size in {trial.batch_size for trial in explored.trials}
        for one in [trace(figure, "32, the default" if size == 32 else str(size))]
        for number, cost in zip(one["x"], one["y"], strict=True)
    }
    assert shown == {(trial.number, trial.cost) for trial in explored.trials}
    assert explored.estimates.account is not None
    assert trace(figure, "expected of the default")["y"] == 2 * [explored.estimates.account.default_cost]
    assert {one["name"] for one in figure["data"]} >= {"cancelled", "running", "lowest so far"}


def test_the_lowest_so_far_never_rises_and_ends_at_the_cheapest_run(explored: Explored) -> None:
    best = trace(costs(explored.trials, None, 32, (32,)), "lowest so far")["y"]
    assert best == sorted(best, reverse=True)
    assert best[-1] == min(trial.cost for trial in explored.trials if trial.state == "converged" and trial.cost)


def test_the_account_ends_where_it_stands_and_a_run_of_the_default_costs_nothing(explored: Explored) -> None:
    figure = account(explored.trials, explored.estimates, 32)
    assert explored.estimates.account is not None
    line = trace(figure, "account")
    assert line["y"][-1] == pytest.approx(explored.estimates.account.balance_runs, abs=1e-3)
    of_default = {trial.number for trial in explored.trials if trial.batch_size == 32 and trial.state == "converged"}
    steps = {number: after - before for number, before, after in zip(line["x"][1:], line["y"], line["y"][1:])}  # noqa: B905
    assert {steps[number] for number in of_default & steps.keys()} <= {0.0}
    assert line["y"][0] == pytest.approx(0.0, abs=0.05), "the first run was one of the default"
    assert trace(figure, "how far exploring may take it")["y"][0] == -1.0
    assert account(explored.trials, None, 32) is None
    assert account([], explored.estimates, 32) is None


def test_the_account_has_the_colour_of_a_loss_below_zero(explored: Explored) -> None:
    assert explored.estimates.account is not None
    sides = {}
    for balance in (50.0, -50.0):
        stands = explored.estimates.account.model_copy(update={"balance_runs": balance})
        figure = account(explored.trials, explored.estimates.model_copy(update={"account": stands}), 32)
        assert figure is not None
        sides[balance] = {side["name"]: side["line"]["color"] for side in figure["data"] if "fill" in side}
    assert sides == {50.0: {"ahead": ACCENT}, -50.0: {"behind": WARNING}}


def test_arms_show_the_intervals_of_the_estimates(explored: Explored) -> None:
    figure = arms(explored.estimates, explored.trials, 32)
    best = trace(figure, "best known")
    (arm,) = [arm for arm in explored.estimates.arms if arm.status == "best known"]
    assert (best["x"], best["y"]) == ([str(arm.batch_size)], [arm.cost])
    assert best["y"][0] + best["error_y"]["array"][0] == pytest.approx(arm.cost_high)
    assert best["y"][0] - best["error_y"]["arrayminus"][0] == pytest.approx(arm.cost_low)
    others = trace(figure, "expected, with 95 % interval")["x"]
    assert {*others, *best["x"]} == {str(arm.batch_size) for arm in explored.estimates.arms if arm.cost is not None}
    assert "<b>32</b><br>default" in figure["layout"]["xaxis"]["ticktext"]


def test_power_curves_are_relative_to_the_best_limit(explored: Explored) -> None:
    line = trace(power_curves(explored.curves, explored.job.settings.batch_sizes), "32")
    assert line["x"] == [150, 200, 250]
    assert line["y"] == pytest.approx([100 * (4 / 3.5 - 1), 0.0, 100 / 3])
    single = explored.curves.model_copy(update={"curves": []})
    assert power_curves(single, (32,)) is None


def test_no_run_beats_those_on_the_front(explored: Explored) -> None:
    figure = energy_against_time(explored.trials, explored.job.settings.batch_sizes)
    front = trace(figure, "the best trade-offs")
    points = {(t.time_seconds, t.energy_joules) for t in explored.trials if t.state == "converged"}
    on_it = set(zip(front["x"], front["y"], strict=True))
    assert on_it <= points
    for seconds, joules in on_it:
        assert not [one for one in points if one[0] <= seconds and one[1] <= joules and one != (seconds, joules)]
    assert energy_against_time([], (32,)) is None


def test_every_predicted_run_is_where_it_fell_in_its_prediction(explored: Explored) -> None:
    usual = {"cost": 100.0, "probability": 0.5, "predicted_low": 80.0, "predicted_high": 125.0, "is_censored": False}
    changes: list[dict[str, Any]] = [
        {},
        {"cost": 300.0, "probability": 1.0},
        {"cost": 70.0, "probability": 0.025},
        {"cost": 10.0, "probability": 0.0, "is_censored": True},
    ]
    made = [explored.calibration.runs[0].model_copy(update={**usual, **change}) for change in changes]
    runs = [run.model_copy(update={"number": number}) for number, run in enumerate(made, 1)]
    figure = calibration(explored.calibration.model_copy(update={"runs": runs}))
    shown = {one["name"]: (one["x"], one["y"]) for one in figure["data"]} if figure else {}
    assert shown == {
        "within the 80 % interval": ([1], [0.0]),
        "outside": ([2, 3], [4.0, -1.96]),
        "ended before the target": ([4], [-4.0]),
    }
    assert trace(figure, "outside")["customdata"] == [runs[1].trial_id] * 2
    assert figure is not None
    assert max(shape["y1"] for shape in figure["layout"]["shapes"]) == pytest.approx(1.96, abs=0.001)
    assert calibration(explored.calibration.model_copy(update={"runs": []})) is None


def test_a_learning_curve_has_the_target_and_the_other_run(explored: Explored) -> None:
    figure = learning_curve(explored.reports, TARGET, explored.reports[:2], "<b>other")
    assert trace(figure, "this run")["y"] == [one.metric for one in explored.reports]
    assert trace(figure, "&lt;b&gt;other")["x"] == [1, 2]
    assert figure is not None
    assert figure["layout"]["shapes"][0]["y0"] == 0.9
    assert learning_curve([one.model_copy(update={"metric": None}) for one in explored.reports], TARGET) is None


def test_power_is_the_mean_between_reports(explored: Explored) -> None:
    figure = power_by_epoch(explored.reports, 200, 2)
    assert trace(figure, "mean power")["y"] == pytest.approx([100.0] * 4)
    assert figure is not None
    assert figure["layout"]["shapes"][0]["y0"] == 400
    assert power_by_epoch(explored.reports[:0], None, 1) is None


def test_savings_add_up_over_the_days() -> None:
    figure = saved_by_day({date(2026, 1, 3): -1.0, date(2026, 1, 1): 2.0})
    assert trace(figure, "in all")["y"] == [2.0, 1.0]
    assert trace(figure, "on the day")["x"] == ["2026-01-01", "2026-01-03"]
    assert saved_by_day({}) is None
    kilojoules = saved_by_day({date(2026, 1, 1): 6400.0})
    assert trace(kilojoules, "on the day")["y"] == [6.4]
    assert kilojoules is not None
    assert kilojoules["layout"]["yaxis"]["title"]["text"] == "energy saved (kJ)"


def test_what_may_as_well_be_a_loss_is_not_drawn_as_saved() -> None:
    for is_sure, colour in ((True, ACCENT), (False, MUTED)):
        assert trace(saved_by_day({date(2026, 1, 1): 1.0}, is_sure=is_sure), "on the day")["marker"]["color"] == [
            colour
        ]


@pytest.mark.parametrize(
    ("cost", "text"),
    [(0.0, "0 J-eq"), (12.34, "12.3 J-eq"), (999.6, "1 kJ-eq"), (1140.0, "1.14 kJ-eq"), (5e9, "5 GJ-eq")],
)
def test_a_cost_has_three_digits_without_an_exponent(cost: float, text: str) -> None:
    assert cost_text(cost) == text


def test_no_text_of_a_figure_has_an_exponent(explored: Explored) -> None:
    dear = [trial.model_copy(update={"cost": 1140.0}) for trial in explored.trials]
    figure = costs(dear, explored.estimates, 32, explored.job.settings.batch_sizes)
    texts = [text for one in figure["data"] for text in one.get("text", ())]
    assert texts
    assert all("1.14 kJ-eq" in text and "e+" not in text for text in texts)


def test_the_title_of_an_axis_fits_a_figure_of_a_phone(explored: Explored) -> None:
    figure = account(explored.trials, explored.estimates, 32)
    assert figure is not None
    assert len(figure["layout"]["yaxis"]["title"]["text"]) <= 30


def test_a_logarithmic_axis_says_so(explored: Explored) -> None:
    alike = {"cost": 100.0, "cost_low": 90.0, "cost_high": 110.0}
    near = [arm.model_copy(update=alike) for arm in explored.estimates.arms]
    far = [near[0].model_copy(update={"cost_high": 5000.0}), *near[1:]]
    found = [explored.estimates.model_copy(update={"arms": one}) for one in (near, far)]
    titles = [arms(one, [], 32)["layout"]["yaxis"]["title"]["text"] for one in found]
    assert titles == ["cost of a run (J-eq)", "cost of a run (J-eq, log scale)"]


def test_simulated_time_is_called_so(explored: Explored) -> None:
    gpu = explored.trials[0].gpu.model_copy(update={"simulated": True})
    trials = [trial.model_copy(update={"gpu": gpu}) for trial in explored.trials]
    figure = energy_against_time(trials, explored.job.settings.batch_sizes)
    assert figure is not None
    assert figure["layout"]["xaxis"]["title"]["text"].startswith("simulated time")


def test_an_axis_has_the_unit_that_suits_it(explored: Explored) -> None:
    run = explored.trials[-1].model_copy(update={"state": "converged", "energy_joules": 7.2e6, "time_seconds": 5400.0})
    figure = energy_against_time([run], (run.batch_size,))
    points = trace(figure, str(run.batch_size))
    assert (points["x"], points["y"]) == ([1.5], [2.0])
    assert figure is not None
    titles = [figure["layout"][axis]["title"]["text"] for axis in ("xaxis", "yaxis")]
    assert titles == ["time to target (h)", "energy to target (kWh)"]


def test_costs_that_are_far_apart_have_a_logarithmic_axis(explored: Explored) -> None:
    cheap = explored.estimates.model_copy(update={"arms": [explored.estimates.arms[2]]})
    near = arms(cheap, [], 32)["layout"]["yaxis"]
    dear = explored.estimates.arms[0].model_copy(update={"cost": 1e6, "cost_low": 1e5, "cost_high": 1e7})
    far = explored.estimates.model_copy(update={"arms": [dear, *explored.estimates.arms[1:]]})
    assert ("type" in near, arms(far, explored.trials, 32)["layout"]["yaxis"]["type"]) == (False, "log")


def test_an_axis_of_runs_has_whole_numbers() -> None:
    assert counting_axis([37, 40])["dtick"] == 1
    assert "dtick" not in counting_axis(range(100))
    assert counting_axis([0.5, 1.0]) == {}


def test_the_legend_shows_a_batch_size_by_a_run_that_converged(explored: Explored) -> None:
    stopped = explored.trials[-1].model_copy(update={"state": "stopped", "number": 0})
    figure = costs([stopped, *explored.trials], None, 32, explored.job.settings.batch_sizes)
    name = "32, the default" if stopped.batch_size == 32 else str(stopped.batch_size)
    symbols = trace(figure, name)["marker"]["symbol"]
    assert (symbols[0], "x-thin-open" in symbols) == ("circle", True)


def test_colours_order_batch_sizes_and_text_is_literal() -> None:
    colours = size_colours([64, 8, 16, 32])
    assert list(colours) == [8, 16, 32, 64]
    assert len(set(colours.values())) == 4
    assert size_colours([8]) == {8: colours[8]}
    assert plain("<script>&") == "&lt;script&gt;&amp;"


def test_an_arm_without_an_interval_is_drawn_as_a_point(explored: Explored) -> None:
    arm = explored.estimates.arms[0].model_copy(update={"cost": 100.0, "cost_low": None, "cost_high": None})
    figure = arms(explored.estimates.model_copy(update={"arms": [arm]}), [], 32)
    (drawn,) = figure["data"]
    assert (drawn["error_y"]["array"], drawn["error_y"]["arrayminus"]) == ([0.0], [0.0])
    assert "from" not in drawn["text"][0]
