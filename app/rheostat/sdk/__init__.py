"""What a trainer uses: the client, the trial of one run, and the values that they take."""

from rheostat.schemas.power import PowerLimitMeasurement
from rheostat.schemas.server import Gpu, JobSettings, LearningRate, Target
from rheostat.sdk.client import Client
from rheostat.sdk.trial import RunningTrial

__all__ = [
    "Client",
    "Gpu",
    "JobSettings",
    "LearningRate",
    "PowerLimitMeasurement",
    "RunningTrial",
    "Target",
]
