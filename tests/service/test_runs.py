"""Whole runs that no trial stands for."""

import pytest

from rheostat import service as use_cases
from rheostat.errors import KeyReused, UnknownBatchSize
from rheostat.schemas.server import JobUpdate, ObserveRunRequest
from rheostat.service import Service
from tests.service.examples import A40, JOB, V100, predict, register


def _import(service: Service, batch_size: int, key: str | None = None, **figures: object) -> float:
    request = ObserveRunRequest.model_validate({"batch_size": batch_size, "gpu": V100, **figures})
    return use_cases.observe_run(service, JOB, request, key).cost


def test_imported_history_is_explored_no_more(service: Service) -> None:
    register(service, batch_sizes=[16, 32], default_batch_size=32)
    for _ in range(2):
        _import(service, 32, cost=100.0, converged=True)
        _import(service, 16, cost=80.0, converged=True)
    assert "Thompson" in predict(service).reason


def test_energy_and_time_are_priced_and_a_cost_is_taken_as_it_is(service: Service) -> None:
    register(service, eta_knob=0.5)
    assert _import(service, 32, energy_joules=100.0, time_seconds=1.0) == 0.5 * 100.0 + 0.5 * 250.0 * 1.0
    assert _import(service, 32, cost=70.0) == 70.0
    use_cases.update_job(service, JOB, JobUpdate(eta_knob=1.0))
    arm = next(a for a in use_cases.estimates(service, JOB).placements[0].arms if a.batch_size == 32)
    assert (arm.runs, arm.cost) == (2, (100.0 + 70.0) / 2)


def test_the_same_key_records_a_run_once(service: Service) -> None:
    register(service)
    for _ in range(3):
        _import(service, 32, "run-1", cost=100.0)
    arm = next(a for a in use_cases.estimates(service, JOB).placements[0].arms if a.batch_size == 32)
    assert arm.runs == 1
    with pytest.raises(KeyReused) as refused:
        _import(service, 32, "run-1", cost=101.0)
    assert refused.value.fields[0].field == "cost"
    with pytest.raises(KeyReused):
        use_cases.observe_run(service, JOB, ObserveRunRequest(batch_size=32, gpu=A40, cost=100.0), "run-1")


def test_a_batch_size_that_the_job_does_not_have_is_refused(service: Service) -> None:
    register(service)
    with pytest.raises(UnknownBatchSize, match="PATCH"):
        _import(service, 33, cost=1.0)
