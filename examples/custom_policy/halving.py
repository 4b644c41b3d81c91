"""A policy of your own: successive halving. Every batch size runs once, the better half again, and so on to the best.

A policy is a class with a name and three methods. It is installed beside the server, which finds it by the entry
point in pyproject.toml:

    pip install ./examples/custom_policy     # in the server's environment; then start the server again
    rheostat serve

A job then asks for it: `JobSettings(..., policy="halving")`, `rheostat run --policy halving`, or for a job that is
registered `rheostat jobs set nightly policy=halving`. test_halving.py shows how to test a policy without a server.
"""

from statistics import fmean
from typing import Any

from rheostat.policy.interface import BatchSizeOptimizer, Job

FAILED = 2.0
"""A run that missed its target counts as so many times its cost."""


class Halving(BatchSizeOptimizer):
    """Runs every batch size left in turn, drops the dearer half, and goes on until one is left.

    ``self.store[job]`` is all that it remembers, as plain JSON, whose keys are strings. Every request has a new
    instance, and after a change of settings all runs are given to :meth:`observe` again.
    """

    name = "halving"

    def register_job(self, job: Job, batch_sizes: list[int]) -> None:
        """Begin with all batch sizes, the job's default first."""
        others = [size for size in batch_sizes if size != job.default_batch_size]
        self.store[job] = {"left": [job.default_batch_size, *others], "costs": {}}

    def predict(self, job: Job) -> int:
        """Return the one of those left that has run least in this round."""
        state = self.store[job]
        return min(state["left"], key=lambda size: len(_costs(state, size)))

    def observe(self, job: Job, batch_size: int, cost: float, converged: bool | None = None) -> None:
        """Learn what a run cost, and drop the dearer half once all that are left have run as often."""
        state = self.store[job]
        known = _costs(state, batch_size)
        state["costs"][str(batch_size)] = [*known, cost * FAILED if converged is False else cost]
        left = state["left"]
        runs = {len(_costs(state, size)) for size in left}
        if len(left) > 1 and len(runs) == 1 and batch_size in left:
            by_cost = sorted(left, key=lambda size: fmean(_costs(state, size)))
            state["left"] = by_cost[: (len(left) + 1) // 2]


def _costs(state: dict[str, Any], batch_size: int) -> list[float]:
    costs: list[float] = state["costs"].get(str(batch_size), [])
    return costs
