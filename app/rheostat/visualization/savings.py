"""What was saved over time."""

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import accumulate

from rheostat.visualization.style import ACCENT, MUTED, WARNING, Figure, energy_unit, layout

_MOST_DAYS_AS_BARS = 62
_FEW_DAYS = 8
_DAY_MILLISECONDS = 86_400_000


def saved_by_day(joules: Mapping[date, float], *, is_sure: bool = True) -> Figure | None:
    """Return the energy saved on each day and in all.

    Args:
        joules: What was saved by day; negative on days that cost more.
        is_sure: False: what was saved in all may as well be a loss.

    Returns:
        The figure; None: there are no days.
    """
    if not joules:
        return None
    days = sorted(joules)
    unit, size = energy_unit(max(map(abs, joules.values())))
    saved = [round(joules[day] / size, 6) for day in days]
    gain = ACCENT if is_sure else MUTED
    dates = [day.isoformat() for day in days]
    total = [round(sum_, 6) for sum_ in accumulate(saved)]
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "in all",
        "x": dates,
        "y": total,
        "line": {"color": gain, "width": 2.5},
        "hovertemplate": f"until %{{x|%d %b %Y}}: %{{y:.3g}} {unit}<extra></extra>",
    }
    bars = {
        "type": "bar",
        "name": "on the day",
        "x": dates,
        "y": saved,
        "width": 0.8 * _DAY_MILLISECONDS,
        "marker": {"color": [gain if joules[day] >= 0 or not is_sure else WARNING for day in days], "opacity": 0.45},
        "hovertemplate": f"%{{x|%d %b %Y}}: %{{y:.3g}} {unit}<extra></extra>",
    }
    margin = timedelta(days=max(1.0, (_FEW_DAYS - (days[-1] - days[0]).days) / 2))
    span = [(days[0] - margin).isoformat(), (days[-1] + margin).isoformat()]
    axis = {"type": "date", "nticks": 6, "tickangle": 0, "tickformat": "%d %b\n%Y", "range": span}
    shown = [line] * (len(days) > 1) + [bars] * (len(days) <= _MOST_DAYS_AS_BARS)
    return {"data": shown, "layout": layout("", f"energy saved ({unit})", xaxis=axis, showlegend=len(shown) > 1)}
