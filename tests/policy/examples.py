"""Jobs, stores and small worlds that the policy tests share."""

import json
from collections.abc import Iterator, MutableMapping
from typing import Any

from rheostat.policy.interface import BatchSizeOptimizer, Job, State


def a_job(**changes: Any) -> Job:
    """Return a job on one 300 W GPU whose default batch size is 32, but for the changes."""
    settings: dict[str, Any] = {
        "job_id": "nightly",
        "gpu_model": "V100",
        "gpu_count": 1,
        "default_batch_size": 32,
        "max_power_watts": 300.0,
        "power_limits_watts": (300, 200, 100),
        "seed": 7,
    }
    return Job(**(settings | changes))


class JsonStore(MutableMapping[Job, State]):
    """Keeps states as JSON makes them, as the service does: what JSON cannot hold is lost or refused."""

    def __init__(self) -> None:
        self._states: dict[Job, State] = {}

    def __getitem__(self, job: Job) -> State:
        return self._states[job]

    def __setitem__(self, job: Job, state: State) -> None:
        self._states[job] = json.loads(json.dumps(state, allow_nan=False))

    def __delitem__(self, job: Job) -> None:
        del self._states[job]

    def __iter__(self) -> Iterator[Job]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)


class Fixed(BatchSizeOptimizer):
    """Always answers the same: the least that a custom policy can be."""

    answer: Any = 32

    @property
    def name(self) -> str:
        return "fixed"

    def register_job(self, job: Job, batch_sizes: list[int]) -> None:
        self.store[job] = {"observed": []}

    def predict(self, job: Job) -> int:
        answer: int = self.answer
        return answer

    def observe(self, job: Job, batch_size: int, cost: float, converged: bool | None = None) -> None:
        state = self.store[job]
        self.store[job] = {"observed": [*state["observed"], [batch_size, cost, converged]]}
