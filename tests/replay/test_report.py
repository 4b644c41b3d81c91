"""The figures of a replay are sums over its trials, set against the oracle and the default."""

from dataclasses import replace
from pathlib import Path

import pytest

from rheostat.replay.reference import Oracle, recurrence_costs
from rheostat.replay.report import NOTE, decisions, summarize, table
from rheostat.replay.run import Outcome, Plan, replay_worlds
from rheostat.replay.simulator import TrialRecord, replay_job
from rheostat.replay.world import World
from tests.replay.examples import a_world

PLAN = Plan("zeus", 0.5, 2.0, recurrences=12, seeds=(1,))


def a_trial(world: World, recurrence: int, *, attempt: int = 1, share: float = 1.0) -> TrialRecord:
    """Return a trial that spent a share of what the oracle is expected to."""
    oracle = world.oracle(0.5)
    return TrialRecord(
        recurrence=recurrence,
        attempt=attempt,
        number=recurrence,
        batch_size=oracle.batch_size,
        power_limit_watts=oracle.power_limit_watts,
        profiled_power_limits_watts=(),
        epochs=5,
        state="converged",
        energy_joules=share * oracle.energy_joules,
        time_seconds=share * oracle.time_seconds,
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return a_world(tmp_path)


def test_excess_is_what_was_spent_beyond_the_oracle_failed_tries_included(world: World) -> None:
    failed = a_trial(world, 3, share=0.5)
    trials = [a_trial(world, recurrence) for recurrence in range(1, 13)]
    trials[2:3] = [failed, replace(trials[2], attempt=2)]
    summary = summarize(PLAN, [Outcome(world, 1, None, tuple(trials))])
    (seed,) = summary["worlds"][0]["seeds"]
    assert seed["excess"] == {"10": pytest.approx(0.05)}
    assert seed["recurrence_costs"][2] == pytest.approx(1.5 * world.oracle(0.5).cost)
    assert seed["trials"] == 13


def test_excess_is_told_at_the_checkpoints_that_were_reached(world: World) -> None:
    def told(recurrences: int) -> list[str]:
        plan = replace(PLAN, recurrences=recurrences)
        trials = tuple(a_trial(world, recurrence) for recurrence in range(1, recurrences + 1))
        return list(summarize(plan, [Outcome(world, 1, None, trials)])["worlds"][0]["mean"]["excess"])

    assert told(120) == ["10", "20", "50", "100"]
    assert told(50) == ["10", "20", "50"]
    assert told(7) == ["7"]


def test_the_worst_that_a_seed_was_behind_always_running_the_default_is_told(world: World) -> None:
    always_default = Oracle(world, 0.5, always_default=True)
    trials = replay_job(world, always_default, seed=1, recurrences=12)
    mean = sum(recurrence_costs(world, trials, recurrences=12, eta_knob=0.5)) / 12
    dearer = replace(
        trials[0],
        energy_joules=trials[0].energy_joules + 2 * mean,
        time_seconds=trials[0].time_seconds + 2 * mean / world.max_power_limit_watts,
    )
    summary = summarize(PLAN, [Outcome(world, 1, None, (dearer, *trials[1:])), Outcome(world, 1, None, trials)])
    assert summary["worlds"][0]["worst_behind"] == pytest.approx(2.0)
    assert [seed["worst_behind"] for seed in summary["worlds"][0]["seeds"]] == pytest.approx([2.0, 0.0])
    (line,) = [line for line in table(summary).splitlines() if line.startswith("digits/perceptron/sgd")]
    assert "  2.00  " in line


def test_savings_are_against_as_many_runs_of_the_default_at_the_highest_limit(world: World) -> None:
    baseline = world.baseline(0.5)
    trials = tuple(
        replace(
            a_trial(world, recurrence),
            energy_joules=0.6 * baseline.energy_joules,
            time_seconds=1.1 * baseline.time_seconds,
        )
        for recurrence in range(1, 13)
    )
    saved = summarize(PLAN, [Outcome(world, 1, None, trials)])["worlds"][0]["mean"]["saved_percent"]
    assert saved["energy"] == pytest.approx(40.0)
    assert saved["time"] == pytest.approx(-10.0)
    cost = world.cost(0.6 * baseline.energy_joules, 1.1 * baseline.time_seconds, 0.5)
    assert saved["cost"] == pytest.approx(100 * (1 - cost / baseline.cost))


def test_the_mean_is_over_the_seeds(world: World) -> None:
    outcomes = [
        Outcome(world, seed, None, tuple(a_trial(world, recurrence, share=share) for recurrence in range(1, 13)))
        for seed, share in ((1, 1.0), (2, 1.5))
    ]
    (figures,) = summarize(PLAN, outcomes)["worlds"]
    assert [seed["seed"] for seed in figures["seeds"]] == [1, 2]
    assert figures["mean"]["excess"]["10"] == pytest.approx(0.25)


def test_each_world_has_a_line_of_its_own(world: World) -> None:
    other = replace(world, gpu_model="a40")
    outcomes = list(replay_worlds([world, other], PLAN))
    summary = summarize(PLAN, outcomes)
    assert [figures["gpu_model"] for figures in summary["worlds"]] == ["t4", "a40"]
    lines = [line for line in table(summary).splitlines() if line.startswith("digits/perceptron/sgd")]
    assert [line.split()[1] for line in lines] == ["t4", "a40"]


def test_the_table_says_what_it_is_and_what_was_left_out(world: World) -> None:
    text = table(summarize(PLAN, list(replay_worlds([world], PLAN))))
    assert text.splitlines()[-1] == NOTE
    assert "not measured joules" in text
    assert "digits on t4: no run of 256 recorded; left out." in text


def test_decisions_are_one_line_a_trial_and_tell_nothing_of_the_server(world: World) -> None:
    (outcome,) = replay_worlds([world], PLAN)
    lines = decisions(PLAN, outcome)
    assert len(lines) == len(outcome.trials)
    assert lines[0]["batch_size"] == world.default_batch_size
    assert lines[0]["profiled_power_limits_watts"] == (200, 150, 100)
    assert sum(line["cost"] for line in lines) == pytest.approx(
        summarize(PLAN, [outcome])["worlds"][0]["seeds"][0]["cost"]
    )
    assert decisions(PLAN, replace(outcome, job_id="elsewhere")) == lines
