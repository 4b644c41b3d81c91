"""The report's figures: pure functions from data to a file, which is the same from the same data."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

_WIDTH_INCHES, _HEIGHT_INCHES = 6.4, 3.4

mpl.rcParams["svg.hashsalt"] = "rheostat"  # else the ids in the file are drawn at random
mpl.rcParams["svg.fonttype"] = "none"


def lines(
    path: Path,
    by_name: Mapping[str, Mapping[int, float]],
    *,
    x_label: str,
    y_label: str,
    log_y: bool = False,
    marks: tuple[float, ...] = (),
) -> None:
    """Write a line for each name, over a number of recurrences.

    Args:
        path: The SVG file.
        by_name: The figures of each line by number of recurrences.
        x_label: Below.
        y_label: Beside.
        log_y: Whether the figures are shown by their logarithm.
        marks: Figures at which a thin line is drawn across.
    """
    figure = Figure(figsize=(_WIDTH_INCHES, _HEIGHT_INCHES), layout="constrained")
    axes = figure.subplots()
    for name, points in by_name.items():
        axes.plot(list(points), list(points.values()), marker="o", markersize=4, label=name)
    for mark in marks:
        axes.axhline(mark, color="grey", linewidth=0.6, linestyle=":")
    ticks = sorted({n for points in by_name.values() for n in points})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    if log_y:
        axes.set_yscale("log")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def shares_beyond(path: Path, by_name: Mapping[str, list[float]], *, x_label: str, y_label: str) -> None:
    """Write for each name which share of its figures is larger than so much."""
    figure = Figure(figsize=(_WIDTH_INCHES, _HEIGHT_INCHES), layout="constrained")
    axes = figure.subplots()
    for name, values in by_name.items():
        ordered = sorted(values)
        axes.step(
            [0.0, *ordered], [1.0 - at / len(ordered) for at in range(len(ordered) + 1)], where="post", label=name
        )
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
