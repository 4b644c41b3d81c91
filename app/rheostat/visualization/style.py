"""What all figures have in common: the form of a figure, colours, and text that is safe to show.

A figure is Plotly JSON as plain values, ``{"data": [...], "layout": {...}}``. To build one needs no package: the
dashboard sends it to ``plotly.min.js``, and :mod:`rheostat.visualization.notebook` makes a Plotly figure of it.
Figures set no colours of text, grid or background, so that they suit light and dark pages.
"""

from collections.abc import Iterable
from html import escape
from typing import Any, TypeAlias

Figure: TypeAlias = dict[str, Any]

ACCENT = "#0f9d76"
MUTED = "#8a94a3"
WARNING = "#d9822b"

_COLOURS = ("#0f9a7b", "#3f57fc", "#b04f4f", "#d15dfc", "#2ea53c", "#7664a0", "#fb170d", "#fd1bc7")
"""Chosen by a search, so that all differ for the colour-blind, too, and neighbours differ most.

All of medium lightness: readable on white and on black.
"""

_MOST_TICKS = 10

_Units: TypeAlias = tuple[tuple[str, float, float], ...]

_ENERGY_UNITS: _Units = (("GWh", 3.6e12, 1), ("MWh", 3.6e9, 1), ("kWh", 3.6e6, 0.1), ("kJ", 1e3, 1), ("J", 1, 0))
_TIME_UNITS: _Units = (("days", 86_400.0, 2), ("h", 3600.0, 1), ("min", 60.0, 1), ("s", 1, 0))
_COST_UNITS: _Units = (("GJ-eq", 1e9, 1), ("MJ-eq", 1e6, 1), ("kJ-eq", 1e3, 1), ("J-eq", 1, 0))
"""From the largest: the name of each, its size, and from how many of it on it is used."""

STATE_SYMBOLS = {
    "converged": "circle",
    "stopped": "x-thin-open",
    "failed": "cross-thin-open",
    "oom": "square-open",
    "cancelled": "line-ew-open",
    "abandoned": "diamond-open",
    "running": "circle-open-dot",
}


def size_colours(batch_sizes: Iterable[int]) -> dict[int, str]:
    """Return a colour for each batch size: far from those of the next ones."""
    sizes = sorted(set(batch_sizes))
    step = min(1.0, (len(_COLOURS) - 1) / max(len(sizes) - 1, 1))
    return {size: _between(step * rank) for rank, size in enumerate(sizes)}


def energy_unit(largest_joules: float) -> tuple[str, float]:
    """Return the name of the unit that suits an axis of energies, and its size in joules."""
    return _unit(largest_joules, _ENERGY_UNITS)


def time_unit(largest_seconds: float) -> tuple[str, float]:
    """Return the name of the unit that suits an axis of time spans, and its size in seconds."""
    return _unit(largest_seconds, _TIME_UNITS)


def energy_text(joules: float) -> str:
    """Return an energy with three digits and a unit that suits."""
    return _text(joules, _ENERGY_UNITS)


def time_text(seconds: float) -> str:
    """Return a time span with three digits and a unit that suits."""
    return _text(seconds, _TIME_UNITS)


def cost_text(joule_equivalents: float) -> str:
    """Return a cost with three digits and a unit that suits."""
    return _text(joule_equivalents, _COST_UNITS)


def plain(text: object) -> str:
    """Return a text as Plotly shows it literally: Plotly understands some tags."""
    return escape(str(text), quote=False)


def counting_axis(numbers: Iterable[float]) -> dict[str, Any]:
    """Return an axis that counts, as of runs or epochs: its ticks are whole numbers where those are."""
    found = [*numbers]
    if not all(float(number).is_integer() for number in found):
        return {}
    is_short = bool(found) and max(found) - min(found) < _MOST_TICKS
    return {"tickformat": "d"} | ({"dtick": 1} if is_short else {})


def short(text: str, longest: int) -> str:
    """Return a text that takes no more room than so many characters."""
    return text if len(text) <= longest else f"{text[: longest - 1]}\N{HORIZONTAL ELLIPSIS}"


def layout(x: str, y: str, **more: Any) -> dict[str, Any]:
    """Return the layout of a figure with two titled axes.

    Args:
        x: Title of the horizontal axis.
        y: Title of the vertical axis.
        **more: Further entries; those of ``xaxis`` and ``yaxis`` are added to the titles.
    """
    axes = {
        name: {"title": {"text": title}, "automargin": True, **more.pop(name, {})}
        for name, title in (("xaxis", x), ("yaxis", y))
    }
    return {
        "margin": {"l": 56, "r": 16, "t": 16, "b": 48},
        "hovermode": "closest",
        "showlegend": True,  # of a single line, too: it says what the line is
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        **axes,
        **more,
    }


def _unit(largest: float, units: _Units) -> tuple[str, float]:
    return next((name, size) for name, size, least in units if largest >= least * size)


def _text(figure: float, units: _Units) -> str:
    rounded = float(f"{figure:.3g}")
    name, size = _unit(rounded, units)
    return f"{rounded / size:.6g} {name}"


def _between(place: float) -> str:
    """Return the colour at a place, or between two."""
    at = min(int(place), len(_COLOURS) - 2)
    pairs = zip(_rgb(_COLOURS[at]), _rgb(_COLOURS[at + 1]), strict=True)
    return "#" + "".join(f"{round(low + (high - low) * (place - at)):02x}" for low, high in pairs)


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))
