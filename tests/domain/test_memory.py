"""A job in memory: what it keeps of decisions."""

import pytest

from rheostat.domain import trials
from rheostat.domain.memory import JobInMemory
from rheostat.errors import TrialNotFound
from rheostat.schemas.trials import ObserveRequest
from tests.domain.examples import LEASE, ExampleJob
from tests.domain.history_contract import HistoryContract, MakeJob


class TestJobInMemory(HistoryContract):
    @pytest.fixture
    def make_job(self) -> MakeJob:
        return ExampleJob


def test_a_decision_that_is_refused_leaves_the_job_as_it_is() -> None:
    example = ExampleJob()
    memory = JobInMemory(example.new)
    clock = trials.Clock(example.clock(), LEASE)
    with pytest.raises(TrialNotFound):
        memory.change(lambda job, history: trials.observe(job, history, "0" * 32, ObserveRequest(epoch=1), clock))
    assert memory.job is example.new
    assert memory.evidence() == []
