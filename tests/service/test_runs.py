"""Whole runs, which are no trials."""

import pytest

from rheostat import service as use_cases
from rheostat.errors import KeyReused
from rheostat.schemas.trials import ObserveRunRequest
from rheostat.service import Service
from tests.domain.examples import A40, JOB, V100
from tests.service.examples import done, register


def _import(service: Service, batch_size: int, key: str | None = None, **figures: object) -> float:
    request = ObserveRunRequest.model_validate({"batch_size": batch_size, "gpu": V100, **figures})
    return done(use_cases.observe_run(service, JOB, request, key)).cost


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
        done(use_cases.observe_run(service, JOB, ObserveRunRequest(batch_size=32, gpu=A40, cost=100.0), "run-1"))
