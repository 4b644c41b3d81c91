"""What each power limit costs, and energy against time."""

from collections.abc import Sequence

from rheostat.schemas.review import PlacementPowerCurves, PowerCurve, PowerPoint
from rheostat.schemas.trials import TrialDetail
from rheostat.visualization.style import (
    MUTED,
    Figure,
    cost_text,
    energy_text,
    energy_unit,
    layout,
    size_colours,
    time_text,
    time_unit,
)


def power_curves(placement: PlacementPowerCurves, batch_sizes: Sequence[int]) -> Figure | None:
    """Return how much dearer an epoch is under each power limit than under the best, by batch size.

    Args:
        placement: What was measured on a placement.
        batch_sizes: All that the job may try: they share the colours of its figures.

    Returns:
        The figure; None: no batch size was measured under two limits.
    """
    curves = [curve for curve in placement.curves if len(curve.points) > 1]
    if not curves:
        return None
    colours = size_colours(batch_sizes)
    data = [_curve(curve, colours.get(curve.batch_size, MUTED)) for curve in curves]
    dearest = max(max(line["y"]) for line in data)
    return {
        "data": data,
        "layout": layout(
            "power limit (W)",
            "cost above the best limit (%)",
            # Some room below 0 %, where the stars of the best limits are.
            yaxis={"range": [-0.06 * max(dearest, 1.0), 1.06 * max(dearest, 1.0)], "ticksuffix": " %"},
            legend={"title": {"text": "batch size "}, "orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        ),
    }


def energy_against_time(trials: Sequence[TrialDetail], batch_sizes: Sequence[int]) -> Figure | None:
    """Return energy and time of every converged run, and the front of those that no other beats in both.

    Args:
        trials: Trials of one placement.
        batch_sizes: All that the job may try: they share the colours of its figures.

    Returns:
        The figure; None: no converged run has both.
    """
    runs = [
        (trial.time_seconds, trial.energy_joules, trial)
        for trial in trials
        if trial.state == "converged" and trial.time_seconds is not None and trial.energy_joules is not None
    ]
    if not runs:
        return None
    colours = size_colours(batch_sizes)
    time, second = time_unit(max(seconds for seconds, *_ in runs))
    energy, joule = energy_unit(max(joules for _, joules, _ in runs))
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": str(size),
            "x": [seconds / second for seconds, _, trial in runs if trial.batch_size == size],
            "y": [joules / joule for _, joules, trial in runs if trial.batch_size == size],
            "text": [f"run {t.number}, batch size {size}" for *_, t in runs if t.batch_size == size],
            "marker": {"color": colours.get(size, MUTED), "size": 9, "opacity": 0.75},
            "customdata": [t.trial_id for *_, t in runs if t.batch_size == size],
            "hovertemplate": f"%{{text}}<br>%{{x:.4~g}} {time}, %{{y:.4~g}} {energy}<extra></extra>",
        }
        for size in sorted({trial.batch_size for *_, trial in runs})
    ]
    simulated = "simulated " if any(trial.gpu.simulated for *_, trial in runs) else ""
    front: list[tuple[float, float]] = []
    for seconds, joules, _ in sorted(runs, key=lambda run: run[:2]):
        if not front or joules < front[-1][1]:
            front.append((seconds, joules))
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "the best trade-offs",
        "x": [seconds / second for seconds, _ in front],
        "y": [joules / joule for _, joules in front],
        "line": {"color": MUTED, "dash": "dot", "width": 1.5, "shape": "hv"},
        "hoverinfo": "skip",
    }
    return {
        "data": [line, *data],
        "layout": layout(
            f"{simulated}time to target ({time})",
            f"{simulated}energy to target ({energy})",
            legend={"title": {"text": "batch size "}, "orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        ),
    }


def _curve(curve: PowerCurve, colour: str) -> Figure:
    lowest = min(point.cost for point in curve.points)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": str(curve.batch_size),
        "x": [point.power_limit_watts for point in curve.points],
        "y": [100.0 * (point.cost / lowest - 1.0) for point in curve.points],
        "text": [_words(point) for point in curve.points],
        "line": {"color": colour, "width": 2},
        "marker": {
            "size": [13 if point.cost == lowest else 7 for point in curve.points],
            "symbol": ["star" if point.cost == lowest else "circle" for point in curve.points],
        },
        "hovertemplate": f"<b>batch size {curve.batch_size} at %{{x}} W</b><br>%{{text}}<extra></extra>",
    }


def _words(point: PowerPoint) -> str:
    what = "epoch" if point.of_an_epoch else "step"
    figures = [f"{cost_text(point.cost)} per {what}"]
    figures += [energy_text(point.energy_joules)] if point.energy_joules is not None else []
    figures += [time_text(point.time_seconds)] if point.time_seconds is not None else []
    return ", ".join(figures)
