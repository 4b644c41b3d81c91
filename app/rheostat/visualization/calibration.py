"""What was predicted of each run when it began, and what it cost."""

from collections.abc import Sequence

from rheostat.schemas.calibration import PlacementCalibration, PredictedRun
from rheostat.visualization.style import ACCENT, MUTED, WARNING, Figure, layout


def calibration(found: PlacementCalibration) -> Figure | None:
    """Return the cost of each run relative to its predicted median, over the predicted 80 % interval.

    Args:
        found: The calibration of one placement.

    Returns:
        The figure; None: no run with a predicted cost has ended.
    """
    if not found.runs:
        return None
    censored = [run for run in found.runs if run.is_censored]
    ended = [run for run in found.runs if not run.is_censored]
    inside = [run for run in ended if run.predicted_low <= run.cost <= run.predicted_high]
    outside = [run for run in ended if run not in inside]
    data = [
        _intervals(found.runs),
        _points(inside, "cost within it", ACCENT, "circle"),
        _points(outside, "cost outside", WARNING, "diamond"),
        _points(censored, "ended before the target: would have cost more", MUTED, "triangle-up-open"),
    ]
    return {
        "data": [trace for trace in data if trace["x"]],
        "layout": layout(
            "run",
            "cost against prediction (%)",
            xaxis={"tickformat": "d"},
            yaxis={"tickformat": "+~r", "zeroline": True},
        ),
    }


def _intervals(runs: Sequence[PredictedRun]) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "predicted, 80 % interval",
        "x": [run.number for run in runs],
        "y": [0.0] * len(runs),
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [_percent(run.predicted_high, run) for run in runs],
            "arrayminus": [-_percent(run.predicted_low, run) for run in runs],
            "color": MUTED,
            "thickness": 1,
            "width": 0,
        },
        "marker": {"color": MUTED, "size": 4, "symbol": "line-ew-open"},
        "hoverinfo": "skip",
    }


def _points(runs: Sequence[PredictedRun], name: str, colour: str, symbol: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [run.number for run in runs],
        "y": [_percent(run.cost, run) for run in runs],
        "customdata": [run.trial_id for run in runs],
        "text": [_words(run) for run in runs],
        "marker": {"color": colour, "size": 7, "symbol": symbol},
        "hovertemplate": "%{text}<extra></extra>",
    }


def _percent(cost: float, run: PredictedRun) -> float:
    """Return how far a cost is from the predicted median of a run, in percent of that."""
    return round(100.0 * (cost / run.predicted - 1.0), 2)


def _words(run: PredictedRun) -> str:
    return (
        f"<b>run {run.number}</b>, batch size {run.batch_size}: {run.state}<br>{run.cost:.4g} J-eq; predicted "
        f"{run.predicted:.4g}, from {run.predicted_low:.4g} to {run.predicted_high:.4g}"
    )
