"""Finds the GPUs of a run over all of its ranks and nodes, and which rank of each node leases them from the agent."""

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
"""The GPUs of a process; "visible": all that ``CUDA_VISIBLE_DEVICES`` shows it."""


@dataclass(frozen=True, slots=True)
class RunGpus:
    """What one rank knows of the GPUs of its run.

    Attributes:
        gpu: Description of all of them together; None when unknown.
        leads: Whether this rank is the one of its node that leases GPUs.
        to_lease: UUIDs of the GPUs that it leases.
        problem: Why the agent's GPUs are unknown to this rank.
    """

    gpu: Gpu | None
    leads: bool
    to_lease: tuple[str, ...]
    problem: RheostatError | None


@dataclass(frozen=True, slots=True)
class _OwnGpus:
    """The GPUs of one rank, as it sends them to the others; ``gpus`` is None when its agent does not answer."""

    host: str
    gpus: tuple[NodeGpu, ...] | None = None
    mistake: str | None = None


def find_run_gpus(agent: NodeAgent, ranks: Ranks, gpu: Gpu | None, gpus: NamedGpus) -> RunGpus:
    """Return the GPUs of the run; every rank must call it.

    Args:
        agent: Agent of this node.
        ranks: The processes of the run.
        gpu: The user's description of the GPUs; None: as the agents describe them.
        gpus: Those of this process, when the user names them.

    Raises:
        ConfigurationError: A named GPU does not exist.
    """
    # Ranks that reach the same agent are on the same node.
    host = f"{gethostname()}:{agent.socket}"
    hosts = ranks.gather(host)
    local_ranks = [rank for rank, other in enumerate(hosts) if other == host]
    own = _OwnGpus(host)
    problem: RheostatError | None = None
    named, alone = (None, None) if gpus == "visible" else (gpus, 1)
    try:
        found = own_gpus(
            agent.gpus(),
            named=named,
            count=alone if gpu is None else gpu.count,
            local_rank=None if ranks.size == 1 else local_ranks.index(ranks.rank),
        )
        own = _OwnGpus(host, tuple(found))
    except ConfigurationError as error:
        problem = error
        own = _OwnGpus(host, mistake=None if named is None else str(error))
    except RheostatError as error:
        problem = error
    all_ranks = ranks.gather(own)
    for one in all_ranks:
        if one.mistake is not None:
            raise ConfigurationError(one.mistake)
    leads = ranks.rank == local_ranks[0]
    by_place = {(one.host, node_gpu.gpu): node_gpu for one in all_ranks for node_gpu in one.gpus or ()}
    at_host = tuple(uuid for place, uuid in by_place if place == host)
    # A rank whose agent does not answer still trains on a GPU.
    unseen = sum(one.gpus is None for one in all_ranks)
    return RunGpus(_described(gpu, list(by_place.values()), unseen), leads, at_host if leads else (), problem)


def _described(gpu: Gpu | None, found: Sequence[NodeGpu], unseen: int) -> Gpu | None:
    """Return the description of the GPUs, with the limits that a lease may set on every node that answered."""
    if not found:
        return gpu
    lowest_watts = [one.lowest_settable_watts for one in found if one.lowest_settable_watts is not None]
    highest_watts = [one.highest_settable_watts for one in found if one.highest_settable_watts is not None]
    if len(lowest_watts) < len(found) or len(highest_watts) < len(found):
        return gpu
    lowest, highest = ceil(max(lowest_watts)), floor(min(highest_watts))
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
