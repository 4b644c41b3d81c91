"""What the latest runs of a job show to be wrong."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from rheostat.domain.health import RecentTrial, health
from rheostat.domain.placements import placement_key
from rheostat.domain.plausibility import MET_AT_ONCE
from rheostat.schemas.health import JobHealth
from rheostat.sdk.seen_gpus import UNKNOWN_GPU
from tests.domain.examples import V100, ExampleJob

COSTS = [100.0, 103.0, 98.0, 101.0, 99.0]


def job_of_runs() -> ExampleJob:
    job = ExampleJob()
    job.predict()
    return job


def trials_of(job: ExampleJob, runs: Sequence[dict[str, Any]]) -> list[RecentTrial]:
    """Return trials, an hour apart, from what each differs in from a converged one; the last one is the newest."""
    usual: dict[str, Any] = {
        "placement": placement_key(V100),
        "batch_size": 32,
        "power_limit_watts": 200,
        "state": "converged",
        "state_reason": "it said so",
        "epochs": 3.0,
        "energy_joules": 100.0,
        "metered_joules": None,
        "energy_estimate": None,
        "time_seconds": 1.0,
        "crashed_at": None,
        "warning": None,
        "nodes": None,
    }
    began = job.clock()
    trials = [
        RecentTrial(
            **{"created_at": (at := began + timedelta(hours=number)), "lease_expires_at": at + timedelta(hours=1)}
            | usual
            | {"trial_id": f"{number:032x}", "number": number}
            | run
        )
        for number, run in enumerate(runs, start=1)
    ]
    return trials[::-1]


def health_of(runs: Sequence[dict[str, Any]]) -> JobHealth:
    job = job_of_runs()
    return health(job.value, trials_of(job, runs), job.clock() + timedelta(days=30))


def test_of_runs_that_went_well_there_is_nothing_to_say() -> None:
    assert health_of([{"energy_joules": joules} for joules in 4 * COSTS]) == JobHealth()


def test_lost_leases_are_counted_whether_the_job_has_noticed_or_not() -> None:
    lost = health_of([{}, {"state": "abandoned"}, {}, {"state": "running", "epochs": None}]).lost
    assert lost is not None
    assert (lost.count, lost.of, lost.number) == (2, 4, 4)


def test_a_run_that_reports_in_time_is_not_lost() -> None:
    job = job_of_runs()
    assert health(job.value, trials_of(job, [{"state": "running"}]), job.clock()).lost is None


@pytest.mark.parametrize(
    ("run", "is_unknown"),
    [
        ({"energy_joules": None}, True),
        ({"energy_estimate": "estimated", "energy_joules": 90.0}, True),
        ({"energy_estimate": "estimated", "energy_joules": 90.0, "metered_joules": 80.0}, False),
        ({"energy_joules": None, "epochs": None}, False),
    ],
    ids=["unknown", "estimated as a whole", "estimated in part", "it never trained"],
)
def test_runs_of_which_no_energy_was_metered_are_counted(run: dict[str, Any], is_unknown: bool) -> None:
    found = health_of([{}, run]).without_energy
    assert (found is not None and (found.count, found.of) == (1, 2)) is is_unknown


def test_a_batch_size_that_crashed_twice_in_a_row_is_a_loop_until_it_trains() -> None:
    crash = {"state": "failed", "epochs": None, "crashed_at": job_of_runs().clock(), "batch_size": 64}
    (loop,) = health_of([{"batch_size": 64}, crash, {}, crash]).crashes
    assert (loop.batch_size, loop.runs.count, loop.runs.number, loop.reason) == (64, 2, 4, "it said so")
    assert health_of([crash, {}, {}]).crashes == []
    assert health_of([crash, crash, {"batch_size": 64}]).crashes == []


def test_runs_that_have_become_dearer_drift() -> None:
    cheap, dear = (
        [{"energy_joules": times * joules, "time_seconds": times * joules / 100.0} for joules in COSTS]
        for times in (1.0, 1.3)
    )
    (drift,) = health_of([*cheap, *cheap, *dear]).drifts
    assert (drift.batch_size, drift.earlier_runs, drift.later.count, drift.later.number) == (32, 10, 5, 15)
    assert drift.percent == pytest.approx(30.0)


@pytest.mark.parametrize(
    "later",
    [
        [{"energy_joules": 90.0, "time_seconds": 0.9}] * 5,
        [{"energy_joules": 105.0, "time_seconds": 1.05}] * 5,
        [{"energy_joules": 200.0, "time_seconds": 2.0, "batch_size": 64}] * 5,
        [{"energy_joules": 200.0, "time_seconds": 2.0, "power_limit_watts": 250}] * 5,
        [{"energy_joules": 200.0, "time_seconds": 2.0, "state": "failed"}] * 5,
        [{"energy_joules": joules, "time_seconds": joules / 100.0} for joules in (60.0, 250.0, 90.0, 180.0, 110.0)],
    ],
    ids=["cheaper", "a little dearer", "another size", "another limit", "failed", "by chance"],
)
def test_what_says_nothing_of_a_drift_is_none(later: list[dict[str, Any]]) -> None:
    earlier = [{"energy_joules": joules} for joules in COSTS]
    assert health_of([*earlier, *earlier, *later]).drifts == []


def test_a_node_is_as_the_latest_run_on_it_reported_it() -> None:
    absent, ready = {"node": "n1", "agent": "absent"}, {"node": "n1", "agent": "ready"}
    other = {"node": "n2", "agent": "not_ready", "problems": ["It needs root."]}
    found = health_of([{"nodes": [absent, other]}, {"nodes": [ready]}, {}]).nodes
    assert [(node.report.node, node.report.agent, node.number) for node in found] == [
        ("n1", "ready", 2),
        ("n2", "not_ready", 1),
    ]
    assert health_of([{"nodes": [absent]}, *([{}] * 10)]).nodes == []


def test_a_target_that_the_first_evaluation_met_is_noted_until_a_run_takes_longer() -> None:
    first = {"epochs": 1.0, "warning": f"Another one.\n{MET_AT_ONCE}, accuracy 0.9, with 0.95."}
    assert health_of([first, {"epochs": 1.0}]).met_at_once == f"{MET_AT_ONCE}, accuracy 0.9, with 0.95."
    assert health_of([first, {"epochs": 2.0}]).met_at_once is None
    assert health_of([{"epochs": 1.0}]).met_at_once is None


def test_a_node_where_no_gpu_is_known_says_so() -> None:
    report = [{"node": "n1", "agent": "absent"}]
    (without,) = health_of([{"nodes": report, "placement": placement_key(UNKNOWN_GPU), "state": "failed"}]).nodes
    (with_gpu,) = health_of([{"nodes": report}]).nodes
    assert (without.has_gpu, with_gpu.has_gpu) == (False, True)
