"""Rheostat: the same model for less energy and time, run after run.

A trainer needs this package alone (:class:`Client`); the server, the replay and the demo are extras.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rheostat.schemas.power import PowerLimitMeasurement
    from rheostat.schemas.server import Gpu, JobSettings, LearningRate, Target
    from rheostat.sdk.client import Client
    from rheostat.sdk.trial import RunningTrial

__version__ = "0.1.0"

__all__ = [
    "Client",
    "Gpu",
    "JobSettings",
    "LearningRate",
    "PowerLimitMeasurement",
    "RunningTrial",
    "Target",
    "__version__",
]


def __getattr__(name: str) -> object:
    """Import the trainer's names on first use, so that the agent and the policies need no HTTP client."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("rheostat.sdk"), name)
