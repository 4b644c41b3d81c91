"""A plan is carried out world by world and seed by seed, or refused in words."""

from dataclasses import replace
from pathlib import Path

import pytest

from rheostat.errors import InvalidInput
from rheostat.replay.run import Plan, made_up_job_id, replay_worlds
from rheostat.replay.traces import Workload
from tests.replay.examples import a_world

PLAN = Plan("zeus", 0.5, 2.0, recurrences=6, seeds=(1, 2, 3))


def test_every_world_is_replayed_with_every_seed(tmp_path: Path) -> None:
    worlds = [a_world(tmp_path), replace(a_world(tmp_path), gpu_model="a40")]
    told: list[None] = []
    outcomes = list(replay_worlds(worlds, PLAN, lambda: told.append(None)))
    assert [(outcome.world.gpu_model, outcome.seed) for outcome in outcomes] == [
        (gpu, seed) for gpu in ("t4", "a40") for seed in (1, 2, 3)
    ]
    assert len(told) == 2 * 3 * 6


def test_the_same_plan_gives_the_same_trials(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    assert list(replay_worlds([world], PLAN)) == list(replay_worlds([world], PLAN))


def test_nothing_is_stopped_without_a_beta_knob(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    with_bound, without = (
        {trial.state for outcome in replay_worlds([world], plan) for trial in outcome.trials}
        for plan in (replace(PLAN, recurrences=20), replace(PLAN, recurrences=20, beta_knob=None))
    )
    assert "stopped" in with_bound
    assert "stopped" not in without


def test_one_name_cannot_name_several_jobs(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--job-id names one job, and this replay makes 3"):
        next(replay_worlds([a_world(tmp_path)], replace(PLAN, job_id="mine")))


def test_a_job_that_no_server_would_take_is_refused_with_the_field(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"digits/perceptron/sgd on t4 makes no job: beta_knob: .*greater than"):
        next(replay_worlds([a_world(tmp_path)], replace(PLAN, beta_knob=0.5)))


def test_an_unknown_policy_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="There is no policy 'nonsense' here"):
        next(replay_worlds([a_world(tmp_path)], replace(PLAN, policy="nonsense")))


def test_a_made_up_job_id_is_one_whatever_the_trace_is_called(tmp_path: Path) -> None:
    world = replace(a_world(tmp_path), workload=Workload("Ünï code/" * 30, "net", "sgd"), gpu_model="Tesla V100")
    made_up = made_up_job_id(world, 2**53 - 1, "0a1b2c3d")
    assert made_up.endswith(f"-{2**53 - 1}-0a1b2c3d")
    # The wire's own pattern and length for job ids.
    assert made_up.isascii()
    assert len(made_up) <= 128
    assert "/" not in made_up
    assert " " not in made_up
