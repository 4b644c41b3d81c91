"""Finds the GPUs of a run over all of its ranks and nodes, and which rank of each node leases them from the agent."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, floor
from socket import gethostname
from typing import Literal

from rheostat.errors import ConfigurationError, RheostatError
from rheostat.schemas.agent import NodeGpu, NodeGpus
from rheostat.schemas.server import Gpu
from rheostat.sdk.node_agent import NodeAgent
from rheostat.sdk.node_report import FoundNode
from rheostat.sdk.own_gpus import own_gpus, slice_in_use
from rheostat.sdk.ranks import Ranks
from rheostat.sdk.seen_gpus import UNKNOWN_GPU, described_gpus, seen_gpus

NamedGpus = Sequence[str | int] | Literal["visible"] | None
"""The GPUs of a process; "visible": all that ``CUDA_VISIBLE_DEVICES`` shows it."""


@dataclass(frozen=True, slots=True)
class RunGpus:
    """What one rank knows of the GPUs of its run.

    Attributes:
        gpu: Description of all of them together.
        leads: Whether this rank is the one of its node that leases GPUs.
        to_lease: UUIDs of the GPUs that it leases.
        problem: Why this rank's GPUs cannot be leased.
        is_usual: Whether nobody need be told: the node has no GPU, or a partitioned one, or another rank tells that it
            has no agent.
        found: The agent of this node, and the GPUs of the run there.
    """

    gpu: Gpu
    leads: bool
    to_lease: tuple[str, ...]
    problem: RheostatError | None
    is_usual: bool = False
    found: FoundNode = field(default_factory=FoundNode, compare=False)


@dataclass(frozen=True, slots=True)
class _OwnGpus:
    """The GPUs of one rank, as it sends them to the others: from the agent, or else as it sees them itself."""

    host: str
    gpus: tuple[NodeGpu, ...] = ()
    seen: Gpu = UNKNOWN_GPU
    mistake: str | None = None


@dataclass(frozen=True, slots=True)
class _Question:
    """Which GPUs a rank looks for; see `own_gpus`."""

    named: Sequence[str | int] | None
    count: int | None
    local_rank: int | None


def find_run_gpus(agent: NodeAgent, ranks: Ranks, gpu: Gpu | None, gpus: NamedGpus) -> RunGpus:
    """Return the GPUs of the run; every rank must call it.

    Args:
        agent: Agent of this node.
        ranks: The processes of the run.
        gpu: The user's description of the GPUs; None: as the agents describe them, else as the processes see them.
        gpus: Those of this process, when the user names them.

    Raises:
        ConfigurationError: A named GPU does not exist.
    """
    node = _node_gpus(agent)
    visible = None if isinstance(node, RheostatError) else node.visible
    # Ranks that reach the same agent are on the same node; those that see other GPUs of it lease them themselves.
    host = ":".join([gethostname(), str(agent.socket), *(visible or ())])
    hosts = ranks.gather(host)
    local_ranks = [rank for rank, other in enumerate(hosts) if other == host]
    named, alone = (None, None) if gpus == "visible" else (gpus, 1)
    question = _Question(
        named, alone if gpu is None else gpu.count, None if ranks.size == 1 else local_ranks.index(ranks.rank)
    )
    own, problem = _own(host, node, question, gpu)
    all_ranks = ranks.gather(own)
    for one in all_ranks:
        if one.mistake is not None:
            raise ConfigurationError(one.mistake)
    leads = ranks.rank == local_ranks[0]
    by_place = {(one.host, node_gpu.gpu): node_gpu for one in all_ranks for node_gpu in one.gpus}
    at_host = tuple(uuid for place, uuid in by_place if place == host)
    unleased = [one.seen for one in all_ranks if not one.gpus]
    described = _described(gpu, list(by_place.values()), unleased)
    has_no_agent = not (agent.is_named or agent.has_socket)
    is_usual = (has_no_agent and not leads) or isinstance(problem, _PartitionedGpu | _NoGpu)
    return RunGpus(
        described, leads, at_host if leads else (), problem, is_usual, FoundNode.of(node, at_host if leads else ())
    )


class _PartitionedGpu(ConfigurationError):
    """The GPU is split by MIG: power can be limited and measured for whole GPUs only."""

    def __init__(self, what: str, model: str | None = None) -> None:
        super().__init__(f"{what}; only whole GPUs have a power limit.")
        self.model = model


class _NoGpu(ConfigurationError):
    """The process trains without a GPU."""


def _node_gpus(agent: NodeAgent) -> NodeGpus | RheostatError:
    try:
        return agent.node_gpus()
    except RheostatError as error:
        return error


def _own(
    host: str, node: NodeGpus | RheostatError, question: _Question, gpu: Gpu | None
) -> tuple[_OwnGpus, RheostatError | None]:
    """Return the GPUs of this rank, and why they cannot be leased."""
    problem: RheostatError | None = None
    if isinstance(node, RheostatError):
        problem = node
    else:
        try:
            if found := _from_agent(node, question):
                return _OwnGpus(host, tuple(found)), None
        except _PartitionedGpu as error:
            problem = error
        except ConfigurationError as error:
            if question.named is not None:
                return _OwnGpus(host, mistake=str(error)), error
            why = "" if node.visible is not None else f" ({node.visible_by})"
            problem = ConfigurationError(f"{error.message}{why}", hint=error.hint)
    seen = gpu or described_gpus(question.named, count=question.count, local_rank=question.local_rank)
    if seen == UNKNOWN_GPU and isinstance(problem, _PartitionedGpu):
        seen = Gpu(model=f"{problem.model} MIG")
    return _OwnGpus(host, seen=seen), problem or _none_found(seen)


def _from_agent(node: NodeGpus, question: _Question) -> list[NodeGpu]:
    """Return the GPUs of this rank that can be leased."""
    if (name := slice_in_use(question.named)) is not None:
        raise _PartitionedGpu(f"{name} is a slice of a partitioned GPU")
    found = own_gpus(
        node.gpus, _visible(node), named=question.named, count=question.count, local_rank=question.local_rank
    )
    for gpu in found:
        if gpu.partitioned:
            raise _PartitionedGpu(f"GPU {gpu.gpu} is partitioned by MIG", gpu.model)
    return found


def _visible(node: NodeGpus) -> list[NodeGpu] | None:
    """Return the node's GPUs that this process may use, in the order of its numbers; None: unknown."""
    by_uuid = {gpu.gpu: gpu for gpu in node.gpus}
    if node.visible is not None:
        return [by_uuid[uuid] for uuid in node.visible]
    # What the agent cannot see from outside, the driver may show from inside.
    seen = [gpu.gpu for gpu in seen_gpus()]
    return [by_uuid[uuid] for uuid in seen] if seen and by_uuid.keys() >= set(seen) else None


def _none_found(seen: Gpu) -> RheostatError:
    if seen == UNKNOWN_GPU:
        return _NoGpu("This process has no GPU.")
    return ConfigurationError(
        "The agent finds no GPU of this process, which sees one itself.",
        hint="Name it by UUID in RHEOSTAT_GPUS; GET /v1/gpus of the agent says how it looked.",
    )


def _described(gpu: Gpu | None, leased: Sequence[NodeGpu], unleased: Sequence[Gpu]) -> Gpu:
    """Return the description of all GPUs, with the limits that a lease may set on every node that answered."""
    if not leased:
        return gpu or unleased[0].model_copy(update={"count": sum(one.count for one in unleased)})
    lowest, highest = _settable(gpu, leased)
    scopes, profiles = {one.power_scope for one in leased}, {one.power_profile for one in leased}
    return Gpu(
        model=leased[0].model if gpu is None else gpu.model,
        count=len(leased) + sum(one.count for one in unleased) if gpu is None else gpu.count,
        min_power_limit_watts=lowest,
        max_power_limit_watts=highest,
        enforced_limit_watts=_enforced(leased, is_settable=highest is not None),
        power_scope=scopes.pop() if len(scopes) == 1 else None,
        power_profile=profiles.pop() if len(profiles) == 1 else None,
        # Said only where it is so, for a server of before does not know it.
        **({"simulated": True} if any(one.simulated for one in leased) else {}),
    )


def _settable(gpu: Gpu | None, leased: Sequence[NodeGpu]) -> tuple[int, int] | tuple[None, None]:
    """Return the lowest and the highest limit that every GPU can be given; nothing when there is none."""
    lowest_watts = [one.lowest_settable_watts for one in leased if one.lowest_settable_watts is not None]
    highest_watts = [one.highest_settable_watts for one in leased if one.highest_settable_watts is not None]
    if any(one.limits != "allowed" for one in leased) or not len(lowest_watts) == len(highest_watts) == len(leased):
        return None, None
    lowest, highest = ceil(max(lowest_watts)), floor(min(highest_watts))
    if gpu is not None and gpu.min_power_limit_watts is not None and gpu.max_power_limit_watts is not None:
        lowest, highest = max(lowest, gpu.min_power_limit_watts), min(highest, gpu.max_power_limit_watts)
    return (lowest, highest) if lowest <= highest else (None, None)


def _enforced(leased: Sequence[NodeGpu], *, is_settable: bool) -> int | None:
    """Return the limit in force where nobody can set another, or where it is under the one that is set."""
    in_force = [
        one.enforced_watts
        for one in leased
        if one.enforced_watts is not None
        and (not is_settable or (one.power_limit_watts is not None and one.enforced_watts < one.power_limit_watts))
    ]
    return floor(min(in_force)) if in_force else None
