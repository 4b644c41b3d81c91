"""Evidence: whole runs, what is learned from all kinds of evidence, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from rheostat.errors import KeyReused, UnknownBatchSize
from tests.domain.examples import A40, V100, ExampleJob
from tests.domain.histories import STEPS, Step, take


def test_imported_history_is_explored_no_more() -> None:
    job = ExampleJob(batch_sizes=[16, 32], default_batch_size=32)
    for _ in range(2):
        job.import_run(32, cost=100.0, converged=True)
        job.import_run(16, cost=80.0, converged=True)
    assert "Thompson" in job.predict().reason


def test_energy_and_time_are_priced_and_a_cost_is_taken_as_it_is() -> None:
    job = ExampleJob(eta_knob=0.5)
    assert job.import_run(32, energy_joules=100.0, time_seconds=1.0) == 0.5 * 100.0 + 0.5 * 250.0 * 1.0
    assert job.import_run(32, cost=70.0) == 70.0
    job.update(eta_knob=1.0)
    arm = job.arms()[32]
    assert (arm.runs, arm.cost) == (2, (100.0 + 70.0) / 2)


def test_the_same_key_records_a_run_once_and_only_the_same_run() -> None:
    job = ExampleJob()
    costs = {job.import_run(32, key="run-1", cost=100.0) for _ in range(3)}
    assert (costs, job.arms()[32].runs) == ({100.0}, 1)
    with pytest.raises(KeyReused) as refused:
        job.import_run(32, key="run-1", cost=101.0)
    assert refused.value.fields[0].field == "cost"
    with pytest.raises(KeyReused) as refused:
        job.import_run(32, A40, key="run-1", cost=100.0)
    assert refused.value.fields[0].field == "gpu"
    assert len(job.detail.placements) == 1


def test_a_run_of_a_batch_size_that_the_job_does_not_have_is_refused() -> None:
    with pytest.raises(UnknownBatchSize, match="PATCH"):
        ExampleJob().import_run(33, cost=1.0)


@hypothesis_settings(max_examples=50)
@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
@given(steps=STEPS)
def test_the_state_is_a_fold_over_the_evidence(policy: str, steps: list[Step]) -> None:
    """Whatever happened, and on which GPU, a rebuild gives the state that the job has."""
    job = ExampleJob(window_size=3, policy=policy)
    for step in steps:
        take(job, step)
    before = job.value.states
    job.rebuild()
    assert job.value.states == before


@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
def test_evidence_of_all_kinds_and_placements_is_folded_in_its_order(policy: str) -> None:
    job = ExampleJob(policy=policy, window_size=3)
    for at in range(6):
        gpu = (V100, A40)[at % 2]
        job.converge(job.predict(gpu), 100.0 + at)
        job.import_run(16, gpu, cost=90.0 + at)
        job.measure(32, gpu, w250=30.0 + at)
    evidence = job.read(lambda _, history: history.evidence())
    assert [piece.sequence for piece in evidence] == list(range(1, 19))
    before = job.value.states
    assert job.rebuild() == 18
    assert job.value.states == before
