"""The wire models of a trial's nodes: the agent of each, and the power limits of its GPUs."""

from typing import Annotated, Literal

from pydantic import Field

from rheostat.schemas.agent import MAX_GPUS, EnergySource, LimitWatts, Uuid
from rheostat.schemas.fields import Body, Detail, Name

MAX_NODES = 1024
MAX_PROBLEMS = 16

AgentState = Literal["ready", "not_ready", "absent", "not_needed"]
"""`not_ready`: it answers, but lacks something. `not_needed`: the process trains without a GPU that can be limited."""


class ReportedGpu(Body):
    """A GPU of a node; null is unknown."""

    gpu: Uuid
    found_watts: LimitWatts | None = Field(None, description="The limit before the run, which the agent restores.")
    ordered_watts: LimitWatts | None = Field(
        None, description="The limit that the run ordered last; null: none is ordered now."
    )
    applied_watts: LimitWatts | None = Field(None, description="The limit since then, as the driver has it.")
    enforced_watts: LimitWatts | None = Field(
        None, description="The limit in force; lower where something outside the driver caps the GPU."
    )
    limited_by: Literal["driver", "site", "found"] | None = Field(
        None, description="What made the agent apply another limit than ordered; null: nothing, or unknown."
    )


class NodeReport(Body):
    """A node, as a run finds it."""

    node: Name
    agent: AgentState
    version: Name | None = Field(None, description="The agent's version; null: it does not say.")
    problems: Annotated[list[Detail], Field(max_length=MAX_PROBLEMS)] = Field(
        default_factory=list, description="What the agent lacks, or why a limit was refused."
    )
    energy_source: EnergySource | None = Field(None, description="How energy is measured; null: it is not.")
    gpus: Annotated[list[ReportedGpu], Field(max_length=MAX_GPUS)] = Field(default_factory=list)


class HeartbeatRequest(Body):
    """The body of a heartbeat, which may be left out."""

    nodes: Annotated[list[NodeReport], Field(max_length=MAX_NODES)] | None = Field(
        None, description="The nodes that the trial runs on, as they are now; null: as they were."
    )
