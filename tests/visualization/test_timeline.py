"""The timeline: when trials ran, where, and how they ended."""

from datetime import UTC, datetime, timedelta
from typing import Any

import plotly.graph_objects as go

from rheostat.schemas.trials import TrialDetail
from rheostat.visualization.style import Figure
from rheostat.visualization.timeline import MOST_NAMED_ROWS, timeline
from tests.visualization.conftest import Explored

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def at(minute: float) -> datetime:
    return BEGIN + timedelta(minutes=minute)


def trial(explored: Explored, number: int, start: float, end: float | None, **changes: Any) -> TrialDetail:
    return explored.trials[-1].model_copy(
        update={"trial_id": f"{number:032}", "number": number, "node": None, "created_at": at(start)}
        | {"ended_at": None if end is None else at(end), "state": "running" if end is None else "converged"}
        | changes
    )


def bars(figure: Figure | None) -> dict[str, tuple[int, float]]:
    """Return the row and the minutes of each trial, by its id."""
    assert figure is not None
    go.Figure(figure)  # it raises where Plotly does not know an attribute
    return {
        trial_id: (y, x / 60_000)
        for one in figure["data"]
        for trial_id, y, x in zip(one["customdata"], one["y"], one["x"], strict=True)
    }


def test_every_trial_is_a_bar_of_its_state(explored: Explored) -> None:
    figure = timeline(explored.trials, max(trial.created_at for trial in explored.trials) + timedelta(hours=1))
    assert set(bars(figure)) == {trial.trial_id for trial in explored.trials}
    assert figure is not None
    assert {one["name"]: len(one["y"]) for one in figure["data"]} == {"converged": 11, "cancelled": 1, "running": 1}
    assert "<script>" not in str(figure)


def test_a_running_trial_lasts_until_now(explored: Explored) -> None:
    running = trial(explored, 1, 0, None)
    assert [*bars(timeline([running], at(7))).values()] == [(0, 7.0)]
    assert [*bars(timeline([running], at(-1))).values()] == [(0, 0.0)]


def test_trials_that_overlap_are_in_rows_of_their_own(explored: Explored) -> None:
    spans = [(0, 10), (5, 8), (8, 12), (10, 11)]
    trials = [trial(explored, number, *span) for number, span in enumerate(spans)]
    assert [row for row, _ in bars(timeline(trials[::-1], at(20))).values()] == [0, 1, 1, 0]


def test_a_node_has_its_rows_and_its_name(explored: Explored) -> None:
    trials = [trial(explored, n, n, 9, node=node) for n, node in enumerate(("b", "a", "b", "<i>"))]
    figure = timeline(trials, at(20))
    assert [row for row, _ in bars(figure).values()] == [2, 1, 3, 0]
    assert figure is not None
    assert figure["layout"]["yaxis"]["ticktext"] == ["&lt;i&gt;", "a", "b", ""]


def test_a_long_name_leaves_room_for_the_bars(explored: Explored) -> None:
    figure = timeline([trial(explored, 1, 0, 1, node="gpu-node-0123.cluster.example")], at(20))
    assert figure is not None
    assert figure["layout"]["yaxis"]["ticktext"] == ["gpu-node-0123.c\N{HORIZONTAL ELLIPSIS}"]
    assert "on gpu-node-0123.cluster.example" in str(figure["data"])


def test_many_nodes_share_rows(explored: Explored) -> None:
    trials = [trial(explored, n, n, n + 1, node=f"node-{n}") for n in range(MOST_NAMED_ROWS + 1)]
    figure = timeline(trials, at(100))
    assert {row for row, _ in bars(figure).values()} == {0}
    assert figure is not None
    assert figure["layout"]["yaxis"]["ticktext"] == [""]


def test_without_trials_there_is_no_timeline() -> None:
    assert timeline([], BEGIN) is None
