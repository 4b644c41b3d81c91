"""What all figures have in common: the form of a figure, colours, and text that is safe to show.

A figure is Plotly JSON as plain values, ``{"data": [...], "layout": {...}}``. To build one needs no package: the
dashboard sends it to ``plotly.min.js``, and :mod:`rheostat.visualization.notebook` makes a Plotly figure of it.
Figures set no colours of text, grid or background, so that they suit light and dark pages.
"""

from collections.abc import Iterable, Sequence
from html import escape
from math import log2
from typing import Any, TypeAlias

Figure: TypeAlias = dict[str, Any]

ACCENT = "#0f9d76"
MUTED = "#8a94a3"
WARNING = "#d9822b"

_SCALE = ("#415feb", "#316ac8", "#149dd2", "#bf8658", "#d77e14", "#d61e6b")
"""From small to large, from cool to warm; chosen by a search, so that they differ for the colour-blind, too.

All of medium lightness: readable on white and on black.
"""

_ENERGY_UNITS = (("GWh", 3.6e12), ("MWh", 3.6e9), ("kWh", 3.6e6), ("Wh", 3.6e3))
_TIME_UNITS = (("days", 86_400.0), ("h", 3600.0), ("min", 60.0))

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
    """Return a colour for each batch size, ordered by the logarithm of the size."""
    sizes = sorted(set(batch_sizes))
    if len(sizes) < 2:  # noqa: PLR2004
        return dict.fromkeys(sizes, _SCALE[0])
    low, high = log2(sizes[0]), log2(sizes[-1])
    return {size: _between((log2(size) - low) / (high - low)) for size in sizes}


def energy_unit(largest_joules: float) -> tuple[str, float]:
    """Return the name of the unit that suits an axis of energies, and its size in joules."""
    return _unit(largest_joules, _ENERGY_UNITS, "J")


def time_unit(largest_seconds: float) -> tuple[str, float]:
    """Return the name of the unit that suits an axis of time spans, and its size in seconds."""
    return _unit(largest_seconds, _TIME_UNITS, "s")


def plain(text: object) -> str:
    """Return a text as Plotly shows it literally: Plotly understands some tags."""
    return escape(str(text), quote=False)


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
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        **axes,
        **more,
    }


def _unit(largest: float, units: Sequence[tuple[str, float]], smallest: str) -> tuple[str, float]:
    return next(((name, size) for name, size in units if largest >= size), (smallest, 1.0))


def _between(share: float) -> str:
    """Return the colour at a share of the scale."""
    place = share * (len(_SCALE) - 1)
    at = min(int(place), len(_SCALE) - 2)
    pairs = zip(_rgb(_SCALE[at]), _rgb(_SCALE[at + 1]), strict=True)
    return "#" + "".join(f"{round(low + (high - low) * (place - at)):02x}" for low, high in pairs)


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))
