"""What a run reports of its node."""

import pytest

from rheostat.errors import ConfigurationError, RheostatError, ServerUnreachable
from rheostat.schemas.agent import AppliedLimit, EnergySource, NodeGpus
from rheostat.schemas.nodes import AgentState, NodeReport, ReportedGpu
from rheostat.sdk.node_report import FoundNode, Limits, node_report
from tests.sdk.examples import node_gpu

GPUS = [node_gpu(0), node_gpu(1)]
UUIDS = [gpu.gpu for gpu in GPUS]


def reported(
    node: NodeGpus | RheostatError,
    limits: Limits | None = None,
    problem: RheostatError | None = None,
    *,
    is_usual: bool = False,
) -> NodeReport:
    found = FoundNode.of(node, UUIDS[:1])
    source: EnergySource | None = None if problem else "counter"
    return node_report("n1", found, limits or Limits(), problem=problem, is_usual=is_usual, energy_source=source)


def test_a_ready_agent_is_reported_with_the_limits_of_the_runs_own_gpus() -> None:
    applied = AppliedLimit(
        gpu=UUIDS[0], requested_watts=250, applied_watts=200, enforced_watts=190, found_watts=300, limited_by="site"
    )
    report = reported(NodeGpus(gpus=GPUS, version="1.2"), Limits(250, [applied]))
    assert (report.node, report.agent, report.version, report.energy_source) == ("n1", "ready", "1.2", "counter")
    assert report.gpus == [
        ReportedGpu(
            gpu=UUIDS[0], found_watts=300, ordered_watts=250, applied_watts=200, enforced_watts=190, limited_by="site"
        )
    ]


def test_without_an_order_the_limit_found_is_the_one_that_applies() -> None:
    (gpu,) = reported(NodeGpus(gpus=GPUS)).gpus
    assert (gpu.found_watts, gpu.ordered_watts, gpu.applied_watts, gpu.enforced_watts) == (300, None, 300, 300)


def test_a_limit_that_another_run_has_left_behind_is_not_the_one_found() -> None:
    changed = node_gpu(0).model_copy(update={"power_limit_watts": 150.0, "found_watts": 300.0})
    assert reported(NodeGpus(gpus=[changed])).gpus[0].found_watts == 300


@pytest.mark.parametrize(
    ("node", "problem", "is_usual", "state"),
    [
        (NodeGpus(gpus=GPUS, problems=["It needs root."]), None, False, "not_ready"),
        (ServerUnreachable("No socket."), ServerUnreachable("No socket."), False, "absent"),
        (NodeGpus(gpus=GPUS), ConfigurationError("Which GPU is unknown."), False, "not_ready"),
        (ServerUnreachable("No socket."), ConfigurationError("No GPU."), True, "not_needed"),
    ],
    ids=["it lacks something", "there is none", "it refuses the lease", "there is nothing to limit"],
)
def test_what_is_in_the_way_is_said(
    node: NodeGpus | RheostatError, problem: RheostatError | None, is_usual: bool, state: AgentState
) -> None:
    report = reported(node, problem=problem, is_usual=is_usual)
    assert report.agent == state
    assert len(report.problems) == 1


def test_a_refused_limit_is_a_problem_of_the_node() -> None:
    report = reported(NodeGpus(gpus=GPUS), Limits(250, refusal="Another process has set 180 W."))
    assert report.problems == ["Another process has set 180 W."]
    assert report.gpus[0].ordered_watts == 250
