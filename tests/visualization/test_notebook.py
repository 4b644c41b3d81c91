"""The figures in a notebook: asked of a server through a client, page by page."""

from types import SimpleNamespace
from typing import Any, cast

import plotly.graph_objects as go
import pytest

from rheostat import visualization
from rheostat.visualization.notebook import Reader
from tests.visualization.conftest import Explored


def reader(explored: Explored) -> Reader:
    """Return a client of a server that gives two trials, or two reports, a page."""

    def page(items: list[Any], name: str, cursor: str | None) -> Any:
        at = int(cursor or 0)
        return SimpleNamespace(**{name: items[at : at + 2]}, next_cursor=str(at + 2) if at + 2 < len(items) else None)

    return cast(
        "Reader",
        SimpleNamespace(
            get_job=lambda _: explored.job,
            get_trial=lambda _: explored.trials[-1],
            estimates=lambda _: SimpleNamespace(placements=[explored.estimates]),
            power_curves=lambda _: SimpleNamespace(placements=[explored.curves]),
            calibration=lambda _: SimpleNamespace(placements=[explored.calibration]),
            list_trials=lambda _, limit, cursor=None: page(explored.trials, "trials", cursor),
            list_observations=lambda _, limit, cursor=None: page(explored.reports, "observations", cursor),
        ),
    )


def test_the_figures_of_a_job_have_all_of_its_trials(explored: Explored) -> None:
    client = reader(explored)
    figure = visualization.plot_costs(client, "nightly")
    assert isinstance(figure, go.Figure)
    numbers = {number for trace in figure.data if trace.customdata is not None for number in trace.x}
    assert numbers == {trial.number for trial in explored.trials}
    assert visualization.plot_arms(client, "nightly").data
    assert visualization.plot_power_curves(client, "nightly").data
    assert visualization.plot_calibration(client, "nightly").data
    assert visualization.plot_energy_against_time(client, "nightly").data


def test_a_learning_curve_has_all_reports(explored: Explored) -> None:
    (line,) = visualization.plot_learning_curve(reader(explored), "trial").data
    assert list(line.x) == [report.epoch for report in explored.reports]


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="plot_nothing"):
        visualization.plot_nothing  # noqa: B018
