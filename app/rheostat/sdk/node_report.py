"""What a run reports of its node: the agent's state and the GPUs' limits, from answers that the run has anyway."""

from collections.abc import Sequence
from dataclasses import dataclass

from rheostat.errors import RheostatError, ServerUnreachable
from rheostat.schemas.agent import AppliedLimit, EnergySource, NodeGpu, NodeGpus
from rheostat.schemas.fields import on_one_line
from rheostat.schemas.nodes import MAX_PROBLEMS, AgentState, NodeReport, ReportedGpu


@dataclass(frozen=True, slots=True)
class FoundNode:
    """The agent of a node when a run began.

    Attributes:
        gpus: The GPUs of the run there.
        version: The agent's version; None: unknown.
        problems: What it lacks.
    """

    gpus: tuple[NodeGpu, ...] = ()
    version: str | None = None
    problems: tuple[str, ...] = ()

    @classmethod
    def of(cls, node: NodeGpus | RheostatError, gpus: Sequence[str]) -> "FoundNode":
        """Return what an agent answered, for some of its GPUs."""
        if isinstance(node, RheostatError):
            return cls()
        return cls(tuple(gpu for gpu in node.gpus if gpu.gpu in gpus), node.version, tuple(node.problems))


@dataclass(frozen=True, slots=True)
class Limits:
    """The power limit of a run's GPUs on a node.

    Attributes:
        ordered_watts: What the run ordered last; None: nothing.
        applied: What the agent answered to that.
        refusal: Why it was refused; None: it was not.
    """

    ordered_watts: float | None = None
    applied: Sequence[AppliedLimit] = ()
    refusal: str | None = None


def node_report(
    name: str,
    found: FoundNode,
    limits: Limits,
    *,
    problem: RheostatError | None,
    is_usual: bool,
    energy_source: EnergySource | None,
) -> NodeReport:
    """Return the report of a node.

    Args:
        name: The node.
        found: What was found there.
        limits: Its limits now.
        problem: Why no GPU is leased there; None: they are.
        is_usual: Whether that is as it should be.
        energy_source: How energy is measured; None: it is not.
    """
    problems = [problem.message] if problem is not None else [*found.problems]
    problems += [limits.refusal] if limits.refusal else []
    return NodeReport(
        node=on_one_line(name)[:128].strip() or "unknown",
        agent=_state(found, problem, is_usual=is_usual),
        version=found.version,
        problems=[on_one_line(one) for one in problems[:MAX_PROBLEMS]],
        energy_source=energy_source,
        gpus=[_gpu(gpu, limits) for gpu in found.gpus],
    )


def _state(found: FoundNode, problem: RheostatError | None, *, is_usual: bool) -> AgentState:
    if problem is None:
        return "not_ready" if found.problems else "ready"
    if is_usual:
        return "not_needed"
    return "absent" if isinstance(problem, ServerUnreachable) else "not_ready"


def _gpu(gpu: NodeGpu, limits: Limits) -> ReportedGpu:
    applied = next((one for one in limits.applied if one.gpu == gpu.gpu), None)
    before = gpu.power_limit_watts if gpu.found_watts is None else gpu.found_watts
    found = before if applied is None else applied.found_watts
    return ReportedGpu(
        gpu=gpu.gpu,
        found_watts=found,
        ordered_watts=limits.ordered_watts,
        applied_watts=found if applied is None else applied.applied_watts,
        enforced_watts=gpu.enforced_watts if applied is None else applied.enforced_watts,
        limited_by=None if applied is None else applied.limited_by,
    )
