"""Surveys that are noisy, wrong or out of order: runs correct them, and decisions stay sane."""

import random
from collections.abc import Callable

import pytest

from rheostat.schemas.power import PowerLimitMeasurement
from rheostat.schemas.trials import Trial
from tests.domain.examples import V100, ExampleJob

LIMITS = [100, 150, 200, 250]
RELATIVE_COST = {100: 1.5, 150: 1.0, 200: 1.1, 250: 1.3}
JOULES = {8: 900.0, 16: 300.0, 32: 100.0, 64: 40.0, 128: 35.0}
EPOCHS = {8: 20, 16: 14, 32: 18, 64: 20, 128: 60}
BEST = (64, 150)

Lie = Callable[[int, int], float]
"""By what a survey multiplies the cost of an epoch of a batch size under a power limit."""


def a_job() -> ExampleJob:
    return ExampleJob(policy="rheostat", eta_knob=1.0, power_limits_watts=LIMITS, max_epochs=100)


def epoch_joules(batch_size: int, limit: int) -> float:
    return JOULES[batch_size] * RELATIVE_COST[limit]


def measured(limit: int, joules: float) -> list[PowerLimitMeasurement]:
    slice_ = PowerLimitMeasurement(
        power_limit_watts=limit, time_seconds=joules / 200, energy_joules=joules, steps=10, steps_per_epoch=10
    )
    return [slice_]


def make_survey(job: ExampleJob, lie: Lie) -> int:
    """Measure what is asked for until nothing is; return how many slices that took."""
    slices = 0
    while steps := job.survey().survey:
        size, limit = steps[0].batch_size, steps[0].power_limits_watts[0]
        job.measured(size, V100, measured(limit, epoch_joules(size, limit) * lie(size, limit)))
        slices += 1
        assert slices < 20
    return slices


def run(job: ExampleJob, trial: Trial) -> tuple[int, int, str]:
    """Train truthfully; return the batch size, the power limit and the end."""
    size, limit, plan = trial.batch_size, trial.power_limit_watts, trial.profile_power_limits_watts
    while limit is None:
        answer = job.measured(size, V100, measured(plan[0], epoch_joules(size, plan[0])))
        limit, plan = answer.power_limit_watts, answer.profile_power_limits_watts
    epoch, state = 0, "running"
    while state == "running":
        epoch += 1
        joules = epoch * epoch_joules(size, limit)
        metric = 0.9 * min(epoch / EPOCHS[size], 1.0)
        state = job.report(trial, epoch, metric=metric, energy_joules=joules, time_seconds=joules / 200).state
    return size, limit, state


def recur(job: ExampleJob, times: int) -> list[tuple[int, int]]:
    """Let the job recur; return batch size and power limit of each run that converged."""
    done: list[tuple[int, int]] = []
    tries = 0
    while len(done) < times:
        size, limit, state = run(job, job.predict())
        tries += 1
        assert tries < 3 * times
        if state == "converged":
            done.append((size, limit))
    return done


LIES: dict[str, Lie] = {
    "noise of 30 percent": lambda size, limit: random.Random(size + limit).lognormvariate(0.0, 0.3),
    "a limit a hundred times cheaper": lambda _, limit: 0.01 if limit == 100 else 1.0,
    "a limit three times cheaper": lambda _, limit: 1 / 3 if limit == 100 else 1.0,
    "the best limit four times dearer": lambda _, limit: 4.0 if limit == 150 else 1.0,
    "a slow first slice": lambda size, limit: 8.0 if (size, limit) == (32, 250) else 1.0,
    "the best batch size three times dearer": lambda size, _: 3.0 if size == 64 else 1.0,
    "the best batch size a hundred times dearer": lambda size, _: 100.0 if size == 64 else 1.0,
    "another a hundred times cheaper": lambda size, _: 0.01 if size == 128 else 1.0,
    "the default a hundred times cheaper": lambda size, _: 0.01 if size == 32 else 1.0,
    "a data loader that hides all differences": lambda size, limit: 500.0 / epoch_joules(size, limit),
    "next to nothing": lambda *_: 1e-6,
}


@pytest.mark.parametrize("lie", LIES)
def test_what_a_survey_gets_wrong_does_no_lasting_harm(lie: str) -> None:
    job = a_job()
    assert make_survey(job, LIES[lie]) == 8
    assert recur(job, 12)[-4:] == [BEST] * 4
    before = job.value.states
    job.rebuild()
    assert job.value.states == before


def test_a_slice_that_takes_for_ever_ends_the_survey_and_no_more() -> None:
    job = a_job()
    assert make_survey(job, lambda *_: 1e9) == 1
    assert "has taken the 120 s" in job.survey().reason
    assert recur(job, 12)[-4:] == [BEST] * 4


def test_slices_may_come_out_of_order_again_and_unasked() -> None:
    job = a_job()
    for size in (128, 8, 64, 32, 16):
        for limit in (100, 250, 150, 200) * 2:
            job.measured(size, V100, measured(limit, epoch_joules(size, limit)))
    assert job.survey().survey == []
    assert recur(job, 8)[-4:] == [BEST] * 4


def test_a_survey_in_the_middle_of_a_run_is_answered_and_learned() -> None:
    job = a_job()
    trial = job.predict()
    for size, limit in ((64, 250), (128, 250)):
        job.measured(size, V100, measured(limit, epoch_joules(size, limit)))
    assert job.survey().survey == []
    assert run(job, trial)[2] == "converged"
    assert recur(job, 11)[-4:] == [BEST] * 4


def test_figures_of_batch_sizes_that_are_closed_do_not_open_them_for_this_node() -> None:
    job = a_job()
    make_survey(job, lambda *_: 1.0)
    assert job.predict(max_batch_size=32).batch_size == 32
    assert {step.batch_size for step in job.survey(max_batch_size=32).survey} <= {8, 16, 32}
