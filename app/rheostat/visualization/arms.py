"""What is believed of each batch size, and what its runs cost."""

from collections.abc import Sequence
from typing import Any

from rheostat.schemas.insight import Estimate, PlacementEstimates
from rheostat.schemas.trials import TrialDetail
from rheostat.visualization.style import ACCENT, MUTED, Figure, cost_text, layout, plain

_FAR_APART = 10.0


def arms(estimates: PlacementEstimates, trials: Sequence[TrialDetail], default_batch_size: int) -> Figure:
    """Return the expected cost of each batch size with its 95 % interval, over the costs of its converged runs.

    Args:
        estimates: The estimates of one placement.
        trials: Trials of that placement.
        default_batch_size: The job's default.
    """
    known = [arm for arm in estimates.arms if arm.cost is not None]
    best = [arm for arm in known if arm.status == "best known"]
    closed = [arm for arm in known if arm.status.startswith("closed")]
    others = [arm for arm in known if arm not in best and arm not in closed]
    runs = [trial for trial in trials if trial.state == "converged" and trial.cost is not None]
    axis = _cost_axis(known, runs)
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "converged runs",
            "x": [str(trial.batch_size) for trial in runs],
            "y": [trial.cost for trial in runs],
            "marker": {"color": MUTED, "size": 6, "opacity": 0.35},
            "hovertemplate": "batch size %{x}: %{y:.3s}J-eq<extra></extra>",
        },
        _expected(others, "expected, with 95 % interval", "#3f6fd8", "circle"),
        _expected(best, "best known", ACCENT, "star"),
        _expected(closed, "closed", MUTED, "x"),
    ]
    sizes = [str(arm.batch_size) for arm in estimates.arms]
    marked = [f"<b>{size}</b><br>default" if int(size) == default_batch_size else size for size in sizes]
    return {
        "data": [trace for trace in data if trace["x"]],
        "layout": layout(
            "batch size",
            f"cost of a run (J-eq{', log scale' if axis.get('type') == 'log' else ''})",
            xaxis={
                "type": "category",
                "categoryorder": "array",
                "categoryarray": sizes,
                "range": [-0.5, len(sizes) - 0.5],
                "tickvals": sizes,
                "ticktext": marked,
            },
            yaxis=axis,
        ),
    }


def _cost_axis(known: Sequence[Estimate], runs: Sequence[TrialDetail]) -> dict[str, Any]:
    """Return the axis of costs: logarithmic where they are far apart, since one dear batch size hides the others."""
    intervals = [cost for arm in known for cost in (arm.cost_low, arm.cost, arm.cost_high)]
    costs = [cost for cost in (*intervals, *(trial.cost for trial in runs)) if cost is not None]
    if max(costs, default=0.0) > _FAR_APART * min(costs, default=0.0) > 0.0:
        return {"type": "log", "tickformat": "~s", "dtick": "D2"}
    return {"tickformat": "~s"}


def _expected(found: Sequence[Estimate], name: str, colour: str, symbol: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [str(arm.batch_size) for arm in found],
        "y": [arm.cost for arm in found],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [_distance(arm.cost, arm.cost_high) for arm in found],
            "arrayminus": [_distance(arm.cost, arm.cost_low) for arm in found],
            "color": colour,
            "thickness": 2,
            "width": 5,
        },
        "marker": {"color": colour, "size": 13 if symbol == "star" else 9, "symbol": symbol},
        "text": [_words(arm) for arm in found],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _distance(cost: float | None, end: float | None) -> float:
    """Return how far the end of an interval is from the cost; some policies know a cost without an interval."""
    return 0.0 if cost is None or end is None else abs(end - cost)


def _words(arm: Estimate) -> str:
    chance = "" if arm.probability_best is None else f"<br>{arm.probability_best:.0%} likely the cheapest"
    limit = "" if arm.power_limit_watts is None else f" at {arm.power_limit_watts} W"
    ends = arm.cost_low, arm.cost_high
    interval = "" if None in ends else f", from {' to '.join(cost_text(end or 0.0) for end in ends)}"
    return (
        f"<b>batch size {arm.batch_size}</b>{limit}<br>{cost_text(arm.cost or 0.0)}{interval}"
        f"<br>runs: {arm.runs}; {plain(arm.status)}{chance}"
    )
