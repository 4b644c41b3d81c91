"""When the trials of a job ran, where, and how they ended."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from rheostat.schemas.trials import TrialDetail
from rheostat.visualization.style import ACCENT, MUTED, Figure, layout, plain, short

MOST_NAMED_ROWS = 16
"""Beyond so many rows they are not named by nodes, but shared by all."""

STATE_COLOURS = {
    "converged": ACCENT,
    "stopped": "#bc8f0a",
    "failed": "#bb4d1b",
    "oom": "#944da2",
    "abandoned": "#a85642",
    "cancelled": MUTED,
    "running": "#1668d1",
}
"""They differ for the colour-blind, too."""
_ROW_PIXELS, _AXIS_PIXELS = 26, 150

_LONGEST_NAME = 16
"""Of a node on the axis, which must leave room for the bars on a phone; the bar's text has the whole name."""


def timeline(trials: Sequence[TrialDetail], now: datetime) -> Figure | None:
    """Return a bar per trial, from its start to its end or to now, coloured by its state; a row per node.

    Trials of one node that overlap are in rows of their own.

    Args:
        trials: Trials, in any order.
        now: Until when the running ones last.

    Returns:
        The figure; its layout has the height that its rows need. None: there are no trials.
    """
    if not trials:
        return None
    shown = sorted(trials, key=lambda trial: (trial.created_at, trial.number))
    rows, names = _rows(shown, now, by_node=True)
    if len(names) > MOST_NAMED_ROWS:
        rows, names = _rows(shown, now, by_node=False)
    found = [state for state in STATE_COLOURS if any(trial.state == state for trial in shown)]
    ticks = {
        "tickmode": "array",
        "tickvals": [*range(len(names))],
        "ticktext": [plain(short(name, _LONGEST_NAME)) for name in names],
    }
    figure: Figure = {
        "data": [_of_state(state, shown, rows, now) for state in found],
        "layout": layout(
            "",
            "",
            xaxis={"type": "date", "tickangle": 0},
            yaxis={**ticks, "range": [len(names) - 0.5, -0.5], "zeroline": False, "showgrid": False},
            barmode="overlay",
            bargap=0.3,
            height=_AXIS_PIXELS + _ROW_PIXELS * len(names),
        ),
    }
    return figure


def _rows(trials: Sequence[TrialDetail], now: datetime, *, by_node: bool) -> tuple[dict[str, int], list[str]]:
    """Return the row of each trial by its id, and the names of the rows: trials in one row do not overlap."""
    ends: dict[str, list[datetime]] = {}
    places = {}
    for trial in trials:
        node = (trial.node or "") if by_node else ""
        lanes = ends.setdefault(node, [])
        at = next((i for i, end in enumerate(lanes) if end <= trial.created_at), len(lanes))
        lanes[at : at + 1] = [_end(trial, now)]
        places[trial.trial_id] = node, at
    first: dict[str, int] = {}
    names: list[str] = []
    for node in sorted(ends):
        first[node] = len(names)
        names += [node if at == 0 else "" for at in range(len(ends[node]))]
    return {trial_id: first[node] + at for trial_id, (node, at) in places.items()}, names


def _end(trial: TrialDetail, now: datetime) -> datetime:
    if trial.ended_at is not None:
        return max(trial.ended_at, trial.created_at)
    if trial.state == "running":
        return max(now, trial.created_at)
    return trial.created_at + timedelta(seconds=trial.time_seconds or 0.0)


def _of_state(state: str, trials: Sequence[TrialDetail], rows: dict[str, int], now: datetime) -> Figure:
    bars = [trial for trial in trials if trial.state == state]
    return {
        "type": "bar",
        "orientation": "h",
        "name": "out of memory" if state == "oom" else state,
        "y": [rows[trial.trial_id] for trial in bars],
        "base": [trial.created_at.isoformat() for trial in bars],
        "x": [round(1000.0 * (_end(trial, now) - trial.created_at).total_seconds()) for trial in bars],  # ms
        "text": [_words(trial, state) for trial in bars],
        "textposition": "none",
        "customdata": [trial.trial_id for trial in bars],
        # The line keeps the shortest run visible.
        "marker": {"color": STATE_COLOURS[state], "line": {"color": STATE_COLOURS[state], "width": 1}},
        "hovertemplate": "%{text}<br>%{base|%Y-%m-%d %H:%M:%S}<extra></extra>",
    }


def _words(trial: TrialDetail, state: str) -> str:
    node = "" if trial.node is None else f" on {plain(trial.node)}"
    limit = "" if trial.power_limit_watts is None else f" at {trial.power_limit_watts} W"
    ended = "still runs" if state == "running" else plain(trial.state_reason)
    return f"<b>Run {trial.number}: batch size {trial.batch_size}</b>{limit}{node}<br>{ended}"
