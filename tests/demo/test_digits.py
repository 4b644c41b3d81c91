from functools import cache
from math import sqrt
from statistics import mean

import numpy as np
import pytest

from rheostat.demo.digits import (
    BATCH_SIZES,
    DEFAULT_BATCH_SIZE,
    DEFAULT_LEARNING_RATE,
    MAX_EPOCHS,
    TARGET_ACCURACY,
    TRAINING_SAMPLES,
    Digits,
    Network,
    job_settings,
)


@cache
def digits() -> Digits:
    return Digits()


def network(batch_size: int, seed: int) -> Network:
    learning_rate = DEFAULT_LEARNING_RATE * sqrt(batch_size / DEFAULT_BATCH_SIZE)
    return Network(digits(), batch_size, learning_rate, np.random.RandomState(seed))


def epochs_to_target(batch_size: int, seed: int) -> int:
    model = network(batch_size, seed)
    return next(epoch for epoch in range(1, 1000) if model.train_one_epoch() >= TARGET_ACCURACY)


def test_all_steps_of_a_run_are_alike() -> None:
    assert all(TRAINING_SAMPLES % batch_size == 0 for batch_size in BATCH_SIZES)


def test_no_sample_both_trains_and_validates() -> None:
    training, validation = digits().training[0], digits().validation[0]
    assert (len(training), len(validation)) == (1536, 512)
    assert not {image.tobytes() for image in training} & {image.tobytes() for image in validation}


def test_the_job_recurs_with_the_seed_of_the_demo() -> None:
    assert job_settings(7).seed == 7


@pytest.mark.parametrize("batch_size", [8, DEFAULT_BATCH_SIZE, 512])
def test_smallest_default_and_largest_reach_the_target_within_the_epochs(batch_size: int) -> None:
    assert epochs_to_target(batch_size, seed=1) <= MAX_EPOCHS


def test_larger_batches_take_more_epochs() -> None:
    epochs = [mean(epochs_to_target(size, seed) for seed in range(3)) for size in (32, 128, 512)]
    assert epochs == sorted(set(epochs))


def test_another_seed_is_another_run_and_the_same_seed_the_same() -> None:
    curves = []
    for seed in (1, 1, 2):
        model = network(64, seed)
        curves.append([model.train_one_epoch() for _ in range(4)])
    assert curves[0] == curves[1] != curves[2]
