"""Draws the documentation's figures: the same data make the same file.

They have a white ground, so that they are readable on light and dark pages.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.story.savings import CHECKPOINTS, JobSavings, Shares

mpl.rcParams["svg.hashsalt"] = "rheostat"  # else the ids in the file are drawn at random
mpl.rcParams["svg.fonttype"] = "none"

_PIXELS_PER_INCH = 96
GREEN, BLUE, GREY, INK = "#0f9d76", "#3f6fd8", "#8a94a3", "#1f2933"


def savings(path: Path, jobs: Sequence[JobSavings], *, seeds: int, eta_knob: float) -> None:
    """Draw energy and time of recorded jobs against always the default."""
    figure = new_figure(800, 440)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, what in zip(panels, ("energy", "time"), strict=True):
        _panel(axes, jobs, what)
    panels[0].set_yticks(range(len(jobs)), [_name(job) for job in jobs], fontsize="small")
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize="small")
    figure.supxlabel(
        f"Replay of recorded V100 training runs, not new measurements: eta_knob {eta_knob:g}, mean of {seeds} seeds,\n"
        "whiskers from the lowest to the highest; failed and stopped runs and all measuring are included.",
        fontsize="small",
        color=INK,
    )
    save(figure, path)


def new_figure(width_pixels: float, height_pixels: float) -> Figure:
    """Return an empty figure of a size in the page's pixels."""
    size = (width_pixels / _PIXELS_PER_INCH, height_pixels / _PIXELS_PER_INCH)
    return Figure(figsize=size, layout="constrained", facecolor="white")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as SVG."""
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _panel(axes: Any, jobs: Sequence[JobSavings], what: str) -> None:
    height = 0.36
    rows = range(len(jobs))
    for number, (recurrences, colour) in enumerate(zip(CHECKPOINTS, (BLUE, GREEN), strict=True)):
        spreads = [getattr(job.rheostat[recurrences], what) for job in jobs]
        places = [row + (number - 0.5) * height for row in rows]
        axes.barh(
            places,
            [100 * spread.mean for spread in spreads],
            height,
            color=colour,
            label=f"Rheostat, first {recurrences} recurrences",
            xerr=[
                [100 * (spread.mean - spread.low) for spread in spreads],
                [100 * (spread.high - spread.mean) for spread in spreads],
            ],
            error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 2},
        )
        for place, spread in zip(places, spreads, strict=True):
            axes.text(3, place, _signed(spread.mean), color="white", va="center", fontsize="small", weight="bold")
    _marks(axes, [job.of_power_alone for job in jobs], what, "D", "default batch size, best power limit")
    _marks(axes, [job.of_best_fixed for job in jobs], what, "*", "best fixed choice, if it were known")
    axes.axvline(100, color=INK, linewidth=1, linestyle="--", label="always the default at the highest limit")
    axes.set_xlim(0, 129)
    axes.set_xticks(range(0, 126, 25))
    axes.set_xlabel(f"{what}, % of always the default")
    axes.spines[["top", "right"]].set_visible(False)


def _marks(axes: Any, shares: Sequence[Shares], what: str, marker: str, label: str) -> None:
    """Mark a share of each job in the middle of its row."""
    places = [100 * getattr(of_job, what).mean for of_job in shares]
    size = 11 if marker == "*" else 6
    axes.plot(
        places,
        range(len(places)),
        marker,
        markersize=size,
        color="#f4b400",
        markeredgecolor=INK,
        markeredgewidth=0.8,
        label=label,
    )


def _name(job: JobSavings) -> str:
    dataset, network = job.workload.split(", ")
    (size, limit), (best, best_limit) = job.default, job.best_fixed
    return f"{dataset}\n{network}\ndefault {size}, {limit} W\nbest {best}, {best_limit} W"


def _signed(share: float) -> str:
    return f"{100 * (share - 1):+.0f} %".replace("-", "\N{MINUS SIGN}")
