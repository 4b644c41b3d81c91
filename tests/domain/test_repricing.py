"""A job as if its eta_knob were another."""

import pytest

from rheostat.domain import insight
from rheostat.domain.repricing import repriced
from rheostat.errors import Conflict
from tests.domain.examples import ExampleJob


def explored(policy: str) -> ExampleJob:
    """Return a job whose large batch sizes save time and cost energy."""
    job = ExampleJob(policy=policy, batch_sizes=[16, 32, 64], default_batch_size=32, eta_knob=1.0)
    for _ in range(8):
        trial = job.predict()
        job.converge(trial, joules=3.0 * trial.batch_size + 100.0, seconds=128.0 / trial.batch_size)
    return job


def best(job: ExampleJob, eta_knob: float) -> int:
    (placement,) = insight.estimates(repriced(job.value, eta_knob)).placements
    return next(arm.batch_size for arm in placement.arms if arm.status == "best known")


@pytest.mark.parametrize("eta_knob", [0.0, 0.3, 1.0])
def test_a_job_is_priced_as_if_its_knob_had_been_changed(eta_knob: float) -> None:
    job = explored("rheostat")
    before = job.value
    found = insight.estimates(repriced(job.value, eta_knob))
    assert job.value == before
    job.update(eta_knob=eta_knob)
    assert found == insight.estimates(job.value)


def test_another_batch_size_may_then_be_best() -> None:
    job = explored("rheostat")
    assert (best(job, 1.0), best(job, 0.0)) == (16, 64)


def test_a_policy_that_keeps_costs_is_not_priced_again() -> None:
    job = explored("zeus")
    assert repriced(job.value, 1.0) == job.value
    with pytest.raises(Conflict, match=r"keeps costs at eta_knob 1"):
        repriced(job.value, 0.5)
