from threading import Timer

import pytest

from rheostat.launch.evaluations import Evaluation, Evaluations
from rheostat.launch.readings import Reading
from rheostat.schemas.server import JobSettings, Target
from tests.waiting import Stopwatch

SETTINGS = JobSettings(
    batch_sizes=[64],
    default_batch_size=64,
    max_epochs=10,
    target=Target(metric="accuracy", value=0.9, direction="maximize"),
)


@pytest.fixture
def evaluations() -> Evaluations:
    return Evaluations(SETTINGS, first_epoch=1)


def test_each_is_the_next_epoch_unless_it_says_which(evaluations: Evaluations) -> None:
    for reading in (Reading(0.1, None), Reading(0.2, 2.5), Reading(0.3, None)):
        evaluations.put(reading)
    assert evaluations.take() == Evaluation(0.3, 3.5)


@pytest.mark.parametrize("epoch", [1.0, 0.5, 0.0, -1.0, float("nan")])
def test_an_epoch_that_is_not_new_does_not_count(evaluations: Evaluations, epoch: float) -> None:
    evaluations.put(Reading(0.1, 1.0))
    evaluations.put(Reading(0.95, epoch))
    assert evaluations.take() == Evaluation(0.1, 1.0)
    assert evaluations.take() is None


def test_of_those_that_wait_only_the_newest_is_reported(evaluations: Evaluations) -> None:
    for metric in (0.1, 0.2, 0.3):
        evaluations.put(Reading(metric, None))
    assert evaluations.take() == Evaluation(0.3, 3.0)
    assert evaluations.take() is None


def test_the_first_one_at_the_target_is_not_overtaken(evaluations: Evaluations) -> None:
    for metric in (0.1, 0.95, 0.2, 0.96):
        evaluations.put(Reading(metric, None))
    assert evaluations.take() == Evaluation(0.95, 2.0)


def test_the_end_wakes_who_waits_and_what_comes_after_it_still_counts(evaluations: Evaluations) -> None:
    watch = Stopwatch()
    Timer(0.05, evaluations.end).start()
    assert evaluations.take(30.0) is None
    assert watch.seconds() < 10
    assert evaluations.has_ended
    evaluations.put(Reading(0.95, None))
    assert evaluations.take(30.0) == Evaluation(0.95, 1.0)


def test_steps_become_epochs_and_the_one_before_training_does_not_count() -> None:
    evaluations = Evaluations(SETTINGS, first_epoch=None, steps_per_epoch=50.0)
    evaluations.put(Reading(0.1, 0.0))
    assert evaluations.take() is None
    evaluations.put(Reading(0.2, 75.0))
    assert evaluations.take() == Evaluation(0.2, 1.5)


def test_epochs_go_on_where_another_process_ended() -> None:
    unnumbered, numbered = (Evaluations(SETTINGS, first_epoch=None, epochs_before=6.0) for _ in (1, 2))
    unnumbered.put(Reading(0.2, None))
    assert unnumbered.take() == Evaluation(0.2, 7.0)
    numbered.put(Reading(0.2, 1.0))
    assert numbered.take() == Evaluation(0.2, 1.0)


def test_a_first_epoch_of_0_is_reported_as_it_is() -> None:
    evaluations = Evaluations(SETTINGS, first_epoch=None)
    evaluations.put(Reading(0.2, 0.0))
    assert evaluations.take() == Evaluation(0.2, 0.0)
    assert evaluations.counts_from_0
