"""What is on offer in a world, and what the best of it is expected to cost."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from rheostat.errors import InvalidInput
from rheostat.replay.traces import EpochFigures, PowerTrace, TrainTrace, Workload, read_train_trace
from rheostat.replay.world import PUBLISHED, JobChoice, build_world, shared_workloads
from tests.replay.examples import CHOICE, RUNS, WORKLOAD, a_world, traces, write_train_trace

ETA = 0.5


def test_a_success_costs_the_mean_epochs_of_those_that_converge(tmp_path: Path) -> None:
    expected = a_world(tmp_path).expected(32, 200, ETA)
    assert expected is not None
    assert expected.time_seconds == 5 * 12.0
    assert expected.energy_joules == 5 * 12.0 * 180.0
    assert expected.cost == ETA * expected.energy_joules + (1 - ETA) * 200 * expected.time_seconds


def test_a_success_is_charged_the_failures_before_it(tmp_path: Path) -> None:
    """One of two runs fails: a success of 5 epochs follows one failure of 10 on average."""
    expected = a_world(tmp_path).expected(8, 200, ETA)
    assert expected is not None
    assert expected.time_seconds == (5 + 10) * 30.0


def test_a_success_is_charged_its_evaluations_and_every_try_its_setup(tmp_path: Path) -> None:
    world = replace(a_world(tmp_path), setup=EpochFigures(100.0, 50.0), evaluation=EpochFigures(2.0, 10.0))
    expected = world.expected(8, 200, ETA)
    assert expected is not None
    assert expected.time_seconds == 2 * 100.0 + (5 + 10) * (30.0 + 2.0)
    assert expected.energy_joules == pytest.approx(2 * 5000.0 + (5 + 10) * (30.0 * 180.0 + 20.0))


def test_a_run_that_converges_after_the_last_epoch_is_a_failure(tmp_path: Path) -> None:
    expected = a_world(tmp_path, replace(CHOICE, max_epochs=6)).expected(16, 200, ETA)
    assert expected is not None
    assert expected.time_seconds == (6 + 6) * 20.0


def test_a_batch_size_that_never_converges_has_no_cost(tmp_path: Path) -> None:
    assert a_world(tmp_path).expected(128, 200, ETA) is None


@pytest.mark.parametrize("eta_knob", [0.0, 0.5, 1.0])
def test_the_oracle_is_the_cheapest_of_all_batch_sizes_and_limits(tmp_path: Path, eta_knob: float) -> None:
    world = a_world(tmp_path)
    pairs = product(world.batch_sizes, world.power_limits_watts)
    costs = [expected.cost for pair in pairs if (expected := world.expected(*pair, eta_knob)) is not None]
    assert world.oracle(eta_knob).cost == min(costs)


def test_the_oracle_follows_the_eta_knob(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    assert world.oracle(0.0).power_limit_watts == 200
    assert world.oracle(1.0).power_limit_watts == 150


def test_the_baseline_is_the_default_at_the_highest_limit(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    assert world.baseline(ETA) == world.expected(32, 200, ETA)


def test_costs_are_priced_at_the_highest_limit_of_the_gpu_not_of_the_workload(tmp_path: Path) -> None:
    train, power = traces(tmp_path)
    other = {Workload("letters", "perceptron", "sgd"): {8: {250: power.figures[WORKLOAD][8][200]}}}
    world = build_world(train, replace(power, figures={**power.figures, **other}), WORKLOAD, CHOICE)
    assert world.max_power_limit_watts == 250
    assert world.power_limits_watts == (200, 150, 100)
    assert world.cost(0.0, 1.0, eta_knob=0.0) == 250.0


def test_a_batch_size_without_a_recorded_run_is_left_out_and_named(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    assert world.batch_sizes == tuple(RUNS)
    assert world.unrecorded_batch_sizes == (256,)


def test_only_limits_that_every_batch_size_was_measured_under_are_offered(tmp_path: Path) -> None:
    train, power = traces(tmp_path)
    figures = {size: dict(by_limit) for size, by_limit in power.figures[WORKLOAD].items()}
    del figures[64][150]
    assert build_world(train, replace(power, figures={WORKLOAD: figures}), WORKLOAD, CHOICE).power_limits_watts == (
        200,
        100,
    )
    figures[8] = {120: figures[8][100]}
    with pytest.raises(InvalidInput, match="no power limit was measured at every batch size"):
        build_world(train, replace(power, figures={WORKLOAD: figures}), WORKLOAD, CHOICE)


def test_traces_without_a_batch_size_in_common_make_no_world(tmp_path: Path) -> None:
    train, power = traces(tmp_path)
    only_256 = {WORKLOAD: {256: power.figures[WORKLOAD][256]}}
    with pytest.raises(InvalidInput, match="share no batch size of digits/perceptron/sgd"):
        build_world(train, replace(power, figures=only_256), WORKLOAD, CHOICE)


def test_a_default_above_all_that_is_offered_is_the_largest(tmp_path: Path) -> None:
    assert a_world(tmp_path, replace(CHOICE, default_batch_size=1000)).default_batch_size == 128


def test_a_default_that_was_not_recorded_is_refused_with_those_that_were(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Choose --default-batch-size among 8, 16, 32, 64, 128"):
        a_world(tmp_path, replace(CHOICE, default_batch_size=33))


def test_a_default_that_never_converges_leaves_nothing_to_compare_with(tmp_path: Path) -> None:
    world = a_world(tmp_path, replace(CHOICE, default_batch_size=128))
    with pytest.raises(InvalidInput, match="Choose --default-batch-size among 8, 16, 32, 64"):
        world.baseline(ETA)
    with pytest.raises(InvalidInput, match="pass another --target or more --max-epochs"):
        a_world(tmp_path, replace(CHOICE, max_epochs=3)).baseline(ETA)


def test_the_metric_is_the_best_level_reached_and_never_beyond_the_target(tmp_path: Path) -> None:
    run = a_world(tmp_path).runs[32][0]
    assert [run.metric_at(epoch) for epoch in (1, 3, 4, 9)] == [0.5, 0.5, 0.7, 0.7]


def test_before_the_first_level_something_worse_is_reported(tmp_path: Path) -> None:
    assert a_world(tmp_path).runs[16][0].metric_at(1) == pytest.approx(0.3)


def falling(directory: Path) -> tuple[TrainTrace, PowerTrace]:
    """Return traces whose metric falls: 60 in epoch 2, 40 in epoch 5, 30 never."""
    power = traces(directory)[1]
    return read_train_trace(write_train_trace(directory, {32: [(2, 5, None)]}, levels=(60.0, 40.0, 30.0))), power


def test_where_lower_is_better_the_metric_is_the_lowest_level_reached(tmp_path: Path) -> None:
    train, power = falling(tmp_path)
    run = build_world(train, power, WORKLOAD, JobChoice(40.0, "minimize", 10, 32)).runs[32][0]
    assert [run.metric_at(epoch) for epoch in (1, 2, 4, 5, 9)] == [80.0, 60.0, 60.0, 40.0, 40.0]
    assert run.epochs_to_target == 5


def test_the_wrong_direction_is_noticed(tmp_path: Path) -> None:
    train, power = falling(tmp_path)
    with pytest.raises(InvalidInput, match="Pass --direction minimize"):
        build_world(train, power, WORKLOAD, JobChoice(40.0, "maximize", 10, 32))


def test_a_target_that_was_not_recorded_is_refused_with_the_levels_that_were(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"size 8, .*run 1 has no line for the target 0\.6\. .*0\.5, 0\.7, 0\.9"):
        a_world(tmp_path, replace(CHOICE, target=0.6))


def test_what_is_not_published_must_be_given_and_the_error_says_which(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        a_world(tmp_path, JobChoice(target=0.7))
    assert (
        "For digits there is no published job to go by, so --max-epochs, --default-batch-size" in caught.value.message
    )
    assert "cifar100, imagenet, librispeech, sentiment140" in caught.value.hint


def test_a_published_job_needs_no_options_and_each_can_be_overruled(tmp_path: Path) -> None:
    train, power = traces(tmp_path)
    workload = Workload("cifar100", "shufflenetv2", "adadelta")
    train = replace(train, curves={workload: train.curves[WORKLOAD]})
    power = replace(power, figures={workload: power.figures[WORKLOAD]})
    world = build_world(train, power, workload, JobChoice(target=0.7))
    assert world.target.value == 0.7
    assert (world.max_epochs, world.default_batch_size) == (PUBLISHED["cifar100"].max_epochs, 128)
    assert build_world(train, power, workload, JobChoice(0.7, max_epochs=7)).max_epochs == 7


def test_the_workloads_of_a_replay_are_those_of_both_traces(tmp_path: Path) -> None:
    train, power = traces(tmp_path)
    adam, letters = replace(WORKLOAD, optimizer="adam"), Workload("letters", "lenet", "sgd")
    power = replace(power, figures=dict.fromkeys((letters, WORKLOAD, adam), power.figures[WORKLOAD]))
    train = replace(train, curves=dict.fromkeys((letters, WORKLOAD), train.curves[WORKLOAD]))
    assert shared_workloads(train, power) == (WORKLOAD, letters)
    assert shared_workloads(train, power, datasets=["letters"]) == (letters,)
    assert shared_workloads(train, power, network="perceptron") == (WORKLOAD,)
    with pytest.raises(InvalidInput, match=r"share no workload of numbers\. Both hold: digits/perceptron/sgd, letters"):
        shared_workloads(train, power, datasets=["digits", "numbers"])
    with pytest.raises(InvalidInput, match="share no workload with that network and optimizer"):
        shared_workloads(train, power, optimizer="adam")
