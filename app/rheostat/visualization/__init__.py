"""Figures of what a job learned and saved: pure functions from wire models to Plotly JSON.

In a notebook, use :mod:`rheostat.visualization.notebook`, whose functions are here, too:
``from rheostat.visualization import plot_costs``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rheostat.extras import install_command

if TYPE_CHECKING:
    from rheostat.visualization.notebook import (
        plot_arms,
        plot_calibration,
        plot_costs,
        plot_energy_against_time,
        plot_learning_curve,
        plot_power_curves,
    )

__all__ = [
    "plot_arms",
    "plot_calibration",
    "plot_costs",
    "plot_energy_against_time",
    "plot_learning_curve",
    "plot_power_curves",
]


def __getattr__(name: str) -> Any:
    # Plotly is imported when a figure is wanted: the server, which sends figures to a browser, never does.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module("rheostat.visualization.notebook"), name)
    except ModuleNotFoundError as error:
        if error.name != "plotly":
            raise
        raise ModuleNotFoundError(f"figures need: {install_command('visualization')}", name="plotly") from None
