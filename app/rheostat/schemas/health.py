"""The wire models of what its latest runs show to be wrong with a job."""

from datetime import datetime

from pydantic import Field

from rheostat.schemas.fields import Body
from rheostat.schemas.nodes import NodeReport
from rheostat.schemas.server import Gpu


class Runs(Body):
    """Some of the latest runs of a job."""

    count: int
    of: int = Field(description="Of so many.")
    since: datetime = Field(description="When the first of them began.")
    trial_id: str = Field(description="The latest of them.")
    number: int


class CrashLoop(Body):
    """A batch size whose latest runs all ended before their first epoch."""

    batch_size: int
    runs: Runs
    reason: str = Field("", description="How the latest of them ended; empty: unknown.")


class Drift(Body):
    """Runs alike that have become dearer."""

    gpu: Gpu
    batch_size: int
    percent: float = Field(description="How much more the later ones cost, in the mean.")
    earlier_runs: int
    later: Runs


class NodeState(Body):
    """A node as the latest run on it reported it."""

    report: NodeReport
    trial_id: str
    number: int
    at: datetime = Field(description="When that run began.")
    has_gpu: bool = Field(True, description="False: neither an agent nor the run itself knows of a GPU there.")


class JobHealth(Body):
    """What the latest runs of a job show."""

    lost: Runs | None = Field(None, description="Runs whose lease expired; null: none.")
    without_energy: Runs | None = Field(None, description="Runs that trained, and of which no energy was metered.")
    crashes: list[CrashLoop] = Field(default_factory=list)
    drifts: list[Drift] = Field(default_factory=list)
    met_at_once: str | None = Field(
        None, description="That the first evaluation of the first run met its target, while no later run took longer."
    )
    nodes: list[NodeState] = Field(default_factory=list, description="Of the few latest runs alone.")
