"""One trial, report by report: its learning curve against another's, and its power."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from rheostat.schemas.review import Observation
from rheostat.schemas.server import Target
from rheostat.visualization.style import ACCENT, MUTED, WARNING, Figure, counting_axis, layout, plain, short

_LONGEST_METRIC = 32
"""Of its name along the axis."""


def learning_curve(
    observations: Sequence[Observation],
    target: Target | None,
    other: Sequence[Observation] = (),
    other_name: str = "",
) -> Figure | None:
    """Return the metric of a trial by epoch, the target, and the curve of another trial.

    Args:
        observations: The trial's reports.
        target: The job's target; None: it has none.
        other: The reports of the trial to compare with.
        other_name: What to call that.

    Returns:
        The figure; None: the metric was never reported.
    """
    if all(one.metric is None for one in observations):
        return None
    data = [_curve(other, other_name, MUTED, "dot")] if any(one.metric is not None for one in other) else []
    data.append(_curve(observations, "this run", ACCENT, "solid"))
    figure: Figure = {
        "data": data,
        "layout": layout(
            "epoch",
            "metric" if target is None else plain(short(target.metric, _LONGEST_METRIC)),
            xaxis=_epochs(observations, other),
        ),
    }
    if target is not None:
        line = {"color": WARNING, "width": 1.5, "dash": "dash"}
        label = {"text": f"target {target.value:g}", "textposition": "start", "font": {"color": WARNING, "size": 12}}
        figure["layout"]["shapes"] = [
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": target.value, "y1": target.value, "line": line}
            | {"label": label}
        ]
    return figure


def power_by_epoch(observations: Sequence[Observation], limit_watts: int | None, gpus: int) -> Figure | None:
    """Return the mean power between a trial's reports.

    Args:
        observations: Its reports.
        limit_watts: The power limit of each GPU; None: it was measured meanwhile, or none was set.
        gpus: How many GPUs it ran on.

    Returns:
        The figure; None: energy or time was not reported.
    """
    known = [
        (one.epoch, one.energy_joules, one.time_seconds)
        for one in observations
        if one.energy_joules is not None and one.time_seconds is not None
    ]
    steps = [
        (epoch, (joules - before_joules) / (seconds - before_seconds), joules - before_joules, seconds - before_seconds)
        for (_, before_joules, before_seconds), (epoch, joules, seconds) in pairwise([(0.0, 0.0, 0.0), *known])
        if seconds > before_seconds
    ]
    if not steps:
        return None
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "mean power",
        "x": [epoch for epoch, *_ in steps],
        "y": [round(watts, 2) for _, watts, *_ in steps],
        "text": [f"{joules:.4g} J in {seconds:.4g} s" for *_, joules, seconds in steps],
        "line": {"color": ACCENT, "width": 2, "shape": "vh"},
        "marker": {"size": 5},
        "hovertemplate": "until epoch %{x:g}: %{y:.1f} W<br>%{text}<extra></extra>",
        "showlegend": False,
    }
    figure: Figure = {
        "data": [line],
        "layout": layout(
            "epoch", "mean power of all GPUs (W)", xaxis=_epochs(observations), yaxis={"rangemode": "tozero"}
        ),
    }
    if limit_watts is not None:
        label = {"text": f"limit {gpus * limit_watts} W", "textposition": "start", "font": {"color": MUTED, "size": 12}}
        y = gpus * limit_watts
        figure["layout"]["shapes"] = [
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "label": label}
            | {"line": {"color": MUTED, "width": 1.5, "dash": "dash"}}
        ]
        figure["layout"]["yaxis"]["range"] = [0, 1.1 * max(y, *(watts for _, watts, *_ in steps))]
    return figure


def _epochs(*runs: Sequence[Observation]) -> dict[str, Any]:
    return counting_axis(one.epoch for run in runs for one in run)


def _curve(observations: Sequence[Observation], name: str, colour: str, dash: str) -> Figure:
    known = [one for one in observations if one.metric is not None]
    return {
        "type": "scatter",
        "mode": "lines+markers" if dash == "solid" else "lines",
        "name": plain(name),
        "x": [one.epoch for one in known],
        "y": [one.metric for one in known],
        "line": {"color": colour, "width": 2, "dash": dash},
        "marker": {"size": 5},
        "hovertemplate": f"{plain(name)}, epoch %{{x:g}}: %{{y:.5g}}<extra></extra>",
    }
