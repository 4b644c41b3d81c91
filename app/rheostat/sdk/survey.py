"""Which GPUs a run has, over all of its ranks and nodes, and which of its ranks leases them from the node's agent."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from socket import gethostname
from typing import Literal

from rheostat.errors import ConfigurationError, RheostatError
from rheostat.schemas.agent import NodeGpu
from rheostat.schemas.server import Gpu
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.own_gpus import own_gpus
from rheostat.sdk.ranks import Ranks

NamedGpus = Sequence[str | int] | Literal["visible"] | None
"""The GPUs of a process; "visible": all that CUDA is told to show it."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a rank knows of the GPUs of its run.

    Attributes:
        gpu: What all of them are; None when nobody knows.
        leads: Whether this rank is the one of its node that leases GPUs.
        gpus: UUIDs of the GPUs that it is to lease.
        problem: Why it cannot know them.
    """

    gpu: Gpu | None
    leads: bool
    gpus: tuple[str, ...]
    problem: RheostatError | None


@dataclass(frozen=True, slots=True)
class _Found:
    """What a rank found; without an answer of its agent, ``gpus`` is None."""

    host: str
    gpus: tuple[NodeGpu, ...] | None = None
    mistake: str | None = None


def survey(agent: NodeAgent, ranks: Ranks, gpu: Gpu | None, gpus: NamedGpus) -> Survey:
    """Find out which GPUs the run has; every rank must ask.

    Args:
        agent: Of this node.
        ranks: The processes of the run.
        gpu: What the user says of the GPUs; None: what the agents say.
        gpus: Those of this process, when the user names them.

    Raises:
        ConfigurationError: A GPU that was named is not there.
    """
    # Ranks that reach the same agent are on the same node.
    host = f"{gethostname()}:{agent.socket}"
    hosts = ranks.gather(host)
    mates = [rank for rank, other in enumerate(hosts) if other == host]
    found = _Found(host)
    problem: RheostatError | None = None
    named, alone = (None, None) if gpus == "visible" else (gpus, 1)
    try:
        own = own_gpus(
            agent.gpus(),
            named=named,
            count=alone if gpu is None else gpu.count,
            local_rank=None if ranks.size == 1 else mates.index(ranks.rank),
        )
        found = _Found(host, tuple(own))
    except ConfigurationError as error:
        problem = error
        found = _Found(host, mistake=None if named is None else str(error))
    except RheostatError as error:
        problem = error
    told = ranks.gather(found)
    for one in told:
        if one.mistake is not None:
            raise ConfigurationError(one.mistake)
    leads = ranks.rank == mates[0]
    by_place = {(one.host, own.gpu): own for one in told for own in one.gpus or ()}
    at_host = tuple(uuid for place, uuid in by_place if place == host)
    # A rank whose agent does not answer still trains on a GPU.
    unseen = sum(one.gpus is None for one in told)
    return Survey(_described(gpu, list(by_place.values()), unseen), leads, at_host if leads else (), problem)


def _described(gpu: Gpu | None, found: Sequence[NodeGpu], unseen: int) -> Gpu | None:
    """Return what the GPUs are, with the limits that all nodes that were seen let a lease set."""
    if not found:
        return gpu
    lowest = ceil(max(one.lowest_settable_watts for one in found))
    highest = floor(min(one.highest_settable_watts for one in found))
    if gpu is not None:
        lowest, highest = max(lowest, gpu.min_power_limit_watts), min(highest, gpu.max_power_limit_watts)
    if lowest > highest:
        return gpu
    return Gpu(
        model=found[0].model if gpu is None else gpu.model,
        count=len(found) + unseen if gpu is None else gpu.count,
        min_power_limit_watts=lowest,
        max_power_limit_watts=highest,
    )
