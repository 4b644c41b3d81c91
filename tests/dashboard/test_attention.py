"""What wants attention, in words."""

from datetime import UTC, datetime
from typing import Any

import pytest

from rheostat import service as use_cases
from rheostat.dashboard.views.attention import Attention, attention, ranked
from rheostat.schemas.control import OrderRequest, PauseRequest
from rheostat.schemas.health import CrashLoop, Drift, JobHealth, NodeState, Runs
from rheostat.schemas.nodes import HeartbeatRequest, NodeReport, ReportedGpu
from rheostat.schemas.server import Target
from rheostat.schemas.summary import JobSummary
from rheostat.sdk.seen_gpus import UNKNOWN_GPU
from rheostat.service import review
from tests.dashboard.conftest import Pages
from tests.dashboard.test_words import plain
from tests.domain.examples import JOB, V100
from tests.service.examples import done, predict, register, report

AT = datetime(2026, 1, 1, tzinfo=UTC)
SOME = Runs(count=3, of=40, since=AT, trial_id="0" * 32, number=7)


def node(**report: Any) -> NodeState:
    return NodeState(report=NodeReport(**{"node": "n1", "agent": "ready"} | report), trial_id="1" * 32, number=8, at=AT)


def cut(**limits: Any) -> ReportedGpu:
    usual = {"ordered_watts": 250.0, "applied_watts": 250.0, "enforced_watts": 250.0}
    return ReportedGpu(gpu="GPU-1", **usual | limits)


@pytest.fixture
def summary(empty: Pages) -> JobSummary:
    register(empty.service)
    trial = predict(empty.service)
    for epoch, metric in ((1, 0.3), (2, 0.95)):
        report(empty.service, trial, epoch, metric=metric, energy_joules=50.0 * epoch, time_seconds=1.0 * epoch)
    found = review.job_summary(empty.service, JOB)
    assert attention(found) == []
    return found


def noted(summary: JobSummary, **health: Any) -> list[Attention]:
    return attention(summary.model_copy(update={"health": JobHealth(**health)}))


@pytest.mark.parametrize(
    ("health", "level", "text", "hint"),
    [
        ({"lost": SOME}, "warning", "3 of the last 40 runs lost their lease", "killed or preempted"),
        (
            {"without_energy": SOME.model_copy(update={"count": 40})},
            "warning",
            "The energy of all of the last 40 runs is unknown",
            "Is an agent running on the node?",
        ),
        (
            {"without_energy": SOME.model_copy(update={"of": 10}), "nodes": [node(agent="absent")]},
            "warning",
            "No agent answers on n1",
            "Start one there",
        ),
        (
            {"crashes": [CrashLoop(batch_size=32, runs=SOME)]},
            "error",
            "The last 3 runs with batch size 32 did not reach their first epoch.",
            "The trainer's log says why.",
        ),
        (
            {"crashes": [CrashLoop(batch_size=32, runs=SOME, reason="the trainer reported cancelled: boom")]},
            "error",
            "The last 3 runs with batch size 32 did not reach their first epoch.",
            "The trainer reported cancelled: boom. The trainer's log says more.",
        ),
        (
            {"drifts": [Drift(gpu=V100, batch_size=64, percent=31.2, earlier_runs=20, later=SOME)]},
            "warning",
            "Runs with batch size 64 on V100 cost 31 % more than the 20 before them.",
            "the data, the trainer, or the node",
        ),
        ({"nodes": [node(agent="absent")]}, "note", "No agent answers on n1", "rheostat agent"),
        (
            {"nodes": [node(agent="not_ready", problems=["It needs root or CAP_SYS_ADMIN."])]},
            "warning",
            "The agent on n1 is not ready: It needs root or CAP_SYS_ADMIN.",
            "rheostat doctor",
        ),
        (
            {"nodes": [node(gpus=[cut(), cut(applied_watts=200.0, limited_by="site")])]},
            "warning",
            "On n1, 1 GPU has 200 W instead of 250 W, by the site file.",
            "The page of nodes",
        ),
        (
            {"nodes": [node(gpus=[cut(enforced_watts=187.5)])]},
            "warning",
            "1 GPU has 187.5 W instead of 250 W, by a cap from outside the driver.",
            "",
        ),
        (
            {"nodes": [node(problems=["Another process has set 180 W."], gpus=[cut(applied_watts=180.0)])]},
            "warning",
            "The power limit was refused on n1: Another process has set 180 W.",
            "rheostat doctor",
        ),
    ],
    ids=[
        "lost",
        "no energy",
        "no energy and no agent",
        "crashes",
        "crashes with a reason",
        "drift",
        "no agent",
        "not ready",
        "cut by the site",
        "capped",
        "refused",
    ],
)
def test_each_trouble_says_what_it_is_and_what_to_do(
    summary: JobSummary, health: dict[str, Any], level: str, text: str, hint: str
) -> None:
    (one,) = noted(summary, **health)
    assert one.level == level
    assert text in plain(one.text)
    assert hint in one.hint
    assert (one.since, len(one.trial_id or "")) == (AT, 32)


def test_what_is_as_it_should_be_is_not_noted(summary: JobSummary) -> None:
    once = SOME.model_copy(update={"count": 1})
    usual = [node(gpus=[cut(), cut(applied_watts=249.5)]), node(node="n2", agent="not_needed")]
    assert noted(summary, lost=once, without_energy=once, nodes=usual) == []


def test_what_several_jobs_have_from_a_node_is_noted_once_after_what_is_graver(summary: JobSummary) -> None:
    health = JobHealth(nodes=[node(agent="not_ready", problems=["It needs root."])])
    jobs = [
        summary.model_copy(update={"health": health, "job": summary.job.model_copy(update={"job_id": name})})
        for name in ("a", "b", "c")
    ]
    broken = summary.model_copy(update={"failure": "The policy failed."})
    found = ranked([one for job in [*jobs, broken] for one in attention(job)])
    assert [(one.level, one.job_id, one.more_jobs) for one in found] == [("error", JOB, 0), ("warning", "a", 2)]


def test_an_order_is_noted_with_its_time(empty: Pages) -> None:
    register(empty.service)
    done(use_cases.pin_job(empty.service, JOB, OrderRequest(batch_size=16)))
    assert "Pinned to batch size 16: nothing is explored. just now" in empty.get("/").text


def test_the_pages_show_what_the_runs_reported(empty: Pages) -> None:
    register(empty.service)
    trial = predict(empty.service, node="n1")
    reports = [NodeReport(node="n1", agent="not_ready", problems=["It needs <root>."])]
    done(use_cases.heartbeat(empty.service, trial.trial_id, HeartbeatRequest(nodes=reports)))
    report(empty.service, trial, 1, metric=0.95, time_seconds=1.0)
    for path in ("/", f"/jobs/{JOB}"):
        page = empty.get(path)
        assert "The agent on n1 is not ready: It needs <root>." in page.text
        assert f"/trials/{trial.trial_id}" in page.links
        assert "<root>" not in page.html


def test_no_more_than_ten_are_shown_at_once(empty: Pages) -> None:
    for number in range(12):
        register(empty.service, f"job-{number}")
        done(use_cases.pause_job(empty.service, f"job-{number}", PauseRequest()))
    page = empty.get("/")
    assert page.html.count("Exploring is paused.") == 12
    assert "and 11 more jobs : Registered, but never run." in page.text
    assert "and 3 more" in page.text
    assert page.html.index("<details") < page.html.index("/jobs/job-9")


def test_what_a_run_shows_comes_before_an_agent_that_is_missing(empty: Pages) -> None:
    target = Target(metric="loss", value=0.9, direction="maximize")
    register(empty.service, target=target)
    trial = predict(empty.service, node="n1")
    done(
        use_cases.heartbeat(
            empty.service, trial.trial_id, HeartbeatRequest(nodes=[NodeReport(node="n1", agent="absent")])
        )
    )
    report(empty.service, trial, 1, metric=0.95, time_seconds=1.0)
    failed = predict(empty.service)
    report(empty.service, failed, 10, metric=0.1, time_seconds=9.0)
    shown = empty.get("/").text
    order = ["The latest run failed", "The target's direction is maximize", "No agent answers on n1"]
    assert sorted(order, key=shown.index) == order


def test_one_node_without_an_agent_is_one_item_whatever_its_jobs_know_of_energy(empty: Pages) -> None:
    silent: dict[str, Any] = {}
    for name, energy in (("a", silent), ("b", {"energy_joules": 5.0}), ("c", silent)):
        register(empty.service, name)
        trial = predict(empty.service, job_id=name, node="n1")
        reports = [NodeReport(node="n1", agent="absent")]
        done(use_cases.heartbeat(empty.service, trial.trial_id, HeartbeatRequest(nodes=reports)))
        for epoch, metric in ((1, 0.3), (2, 0.95)):
            report(empty.service, trial, epoch, metric=metric, time_seconds=1.0 * epoch, **energy)
    page = empty.get("/").text
    assert page.count("No agent answers on n1") == 1
    assert "and 2 more jobs : No agent answers on n1" in page
    assert "energy of" not in page


def test_a_machine_without_a_gpu_needs_no_agent(empty: Pages) -> None:
    register(empty.service)
    trial = predict(empty.service, UNKNOWN_GPU, node="n1")
    reports = [NodeReport(node="n1", agent="absent")]
    done(use_cases.heartbeat(empty.service, trial.trial_id, HeartbeatRequest(nodes=reports)))
    for epoch, metric in ((1, 0.3), (2, 0.95)):
        report(empty.service, trial, epoch, metric=metric, time_seconds=1.0 * epoch)
    page = empty.get(f"/jobs/{JOB}").text
    assert "No agent answers" not in page
    assert "note Energy is not measured on n1: no GPU is known there." in page
    assert "no agent" not in empty.get("/nodes").text


def test_a_job_says_that_nothing_needs_attention(summary: JobSummary, empty: Pages) -> None:
    assert attention(summary) == []
    assert "Nothing needs attention." in empty.get(f"/jobs/{JOB}").text
    assert "Nothing needs attention." in empty.get("/").text


def test_a_target_met_at_once_stays_noted_after_the_first_run(summary: JobSummary) -> None:
    (one,) = noted(summary, met_at_once="The first evaluation of the job's first run met its target.")
    assert one.level == "warning"
    assert "rheostat jobs set" in one.hint
