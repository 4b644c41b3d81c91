"""What was saved over time."""

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import accumulate

from rheostat.visualization.style import ACCENT, WARNING, Figure, layout

_MOST_DAYS_AS_BARS = 62
_FEW_DAYS = 8
_DAY_MILLISECONDS = 86_400_000


def saved_by_day(kwh: Mapping[date, float]) -> Figure | None:
    """Return the energy saved on each day and in all.

    Args:
        kwh: What was saved by day; negative on days that cost more.

    Returns:
        The figure; None: there are no days.
    """
    if not kwh:
        return None
    days = sorted(kwh)
    dates = [day.isoformat() for day in days]
    total = [round(sum_, 6) for sum_ in accumulate(kwh[day] for day in days)]
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "in all",
        "x": dates,
        "y": total,
        "line": {"color": ACCENT, "width": 2.5},
        "hovertemplate": "until %{x|%d %b %Y}: %{y:.3g} kWh<extra></extra>",
    }
    bars = {
        "type": "bar",
        "name": "on the day",
        "x": dates,
        "y": [round(kwh[day], 6) for day in days],
        "width": 0.8 * _DAY_MILLISECONDS,
        "marker": {"color": [ACCENT if kwh[day] >= 0 else WARNING for day in days], "opacity": 0.45},
        "hovertemplate": "%{x|%d %b %Y}: %{y:.3g} kWh<extra></extra>",
    }
    margin = timedelta(days=max(1.0, (_FEW_DAYS - (days[-1] - days[0]).days) / 2))
    span = [(days[0] - margin).isoformat(), (days[-1] + margin).isoformat()]
    axis = {"type": "date", "nticks": 8, "tickformat": "%d %b\n%Y", "range": span}
    shown = [line] * (len(days) > 1) + [bars] * (len(days) <= _MOST_DAYS_AS_BARS)
    return {"data": shown, "layout": layout("", "energy saved (kWh)", xaxis=axis, showlegend=len(shown) > 1)}
