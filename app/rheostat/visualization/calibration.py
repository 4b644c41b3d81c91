"""What was predicted of each run when it began, and what it cost."""

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

from rheostat.schemas.calibration import PlacementCalibration, PredictedRun
from rheostat.visualization.style import ACCENT, MUTED, WARNING, Figure, cost_text, counting_axis, layout

LEVELS = (0.5, 0.8, 0.95)

FARTHEST = 4.0
"""Standard deviations from the predicted median beyond which all points lie on one line."""

_LEAST_SHOWN = 2.5
_STANDARD = NormalDist()


def calibration(found: PlacementCalibration) -> Figure | None:
    """Return where the cost of each run fell in its prediction, over the predicted intervals.

    All predictions are drawn on one scale, in standard deviations from the median: the first ones are far wider than
    the later.

    Args:
        found: The calibration of one placement.

    Returns:
        The figure; None: no run with a predicted cost has ended.
    """
    if not found.runs:
        return None
    censored = [run for run in found.runs if run.is_censored]
    ended = [run for run in found.runs if not run.is_censored]
    data = [
        _points([run for run in ended if _is_inside(run)], "within the 80 % interval", ACCENT, "circle"),
        _points([run for run in ended if not _is_inside(run)], "outside", WARNING, "diamond"),
        _points(censored, "ended before the target", MUTED, "triangle-up-open"),
    ]
    end = max([_LEAST_SHOWN, *(abs(_deviations(run)) + 0.3 for run in found.runs)])
    ends = [_STANDARD.inv_cdf(0.5 * (1.0 + level)) for level in LEVELS]
    named = [(at, f"{100.0 * level:.0f} %") for at, level in zip(ends, LEVELS, strict=True)][1:]
    ticks = [*((-at, name) for at, name in named), (0.0, "median"), *named]
    return {
        "data": [trace for trace in data if trace["x"]],
        "layout": layout(
            "run",
            "cheaper \N{LEFTWARDS ARROW} cost \N{RIGHTWARDS ARROW} dearer",
            xaxis=counting_axis(run.number for run in found.runs),
            yaxis={
                "range": [-end, end],
                "zeroline": False,
                "showgrid": False,
                "tickvals": [at for at, _ in ticks],
                "ticktext": [name for _, name in ticks],
            },
            shapes=[_band(at) for at in ends] + [_median()],
        ),
    }


def _band(end: float) -> dict[str, Any]:
    return {
        "type": "rect",
        "layer": "below",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": -end,
        "y1": end,
        "fillcolor": MUTED,
        "opacity": 0.13,
        "line": {"width": 0},
    }


def _median() -> dict[str, Any]:
    line = {"color": MUTED, "width": 1.5, "dash": "dash"}
    return {"type": "line", "layer": "below", "xref": "paper", "x0": 0, "x1": 1, "y0": 0, "y1": 0, "line": line}


def _points(runs: Sequence[PredictedRun], name: str, colour: str, symbol: str) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [run.number for run in runs],
        "y": [round(_deviations(run), 3) for run in runs],
        "customdata": [run.trial_id for run in runs],
        "text": [_words(run) for run in runs],
        "marker": {"color": colour, "size": 7, "symbol": symbol},
        "hovertemplate": "%{text}<extra></extra>",
    }


def _is_inside(run: PredictedRun) -> bool:
    return run.predicted_low <= run.cost <= run.predicted_high


def _deviations(run: PredictedRun) -> float:
    """Return where the cost of a run lies on the scale of its prediction, in standard deviations from the median."""
    if not 0.0 < run.probability < 1.0:
        return FARTHEST if run.probability else -FARTHEST
    return min(max(_STANDARD.inv_cdf(run.probability), -FARTHEST), FARTHEST)


def _words(run: PredictedRun) -> str:
    return (
        f"<b>run {run.number}</b>, batch size {run.batch_size}: {run.state}<br>{cost_text(run.cost)}; predicted "
        f"{cost_text(run.predicted)}, from {cost_text(run.predicted_low)} to {cost_text(run.predicted_high)}"
    )
