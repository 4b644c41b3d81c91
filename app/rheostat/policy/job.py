"""A placement of a recurring job as policies see it, and its knobs: they turn without losing what was learnt."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np

from rheostat.policy.cost import NOMINAL_POWER_WATTS, Outlay, known_cost
from rheostat.policy.learning_curve import Target
from rheostat.policy.published import Published

FirstRun = Literal["predicted", "default"]
"""Which batch size a job's first run has: the one that is predicted to be the cheapest, or the default."""


@dataclass(frozen=True, slots=True)
class Job:
    """A placement of a recurring job: the job, a GPU model, how many of them, and what their power is measured of.

    Those identify it: two jobs that differ in the knobs alone are equal and share their state, so the knobs may be
    turned without losing what was learnt.

    Attributes:
        job_id: Identifier of the recurring job.
        gpu_model: Name of the GPU model, as NVML gives it.
        gpu_count: Number of GPUs of one run.
        default_batch_size: What the user would have trained with.
        max_power_watts: Highest power limit of one GPU, or what stands for it, times ``gpu_count``.
        power_limits_watts: Limits of one GPU to choose from, highest first; empty: none can be set.
        target: What a run must reach; None: it has converged when it has run ``max_epochs``.
        max_epochs: A run that has not reached its target by then has failed.
        eta_knob: Weight of energy against time in the cost, 0 to 1.
        beta_knob: A run is stopped when its cost passes this multiple of the lowest; None: never.
        max_slowdown: Longest epoch allowed, as a multiple of the fastest limit's; None: any.
        window_size: How many of an arm's latest runs count; 0: all.
        first_run: Whether the first run may be at another batch size than the default, where a survey predicts that it
            is cheaper.
        exploration_budget_runs: How far exploring may take a placement behind "always the default", in runs of the
            default; 0: it never explores; None: there is no bound.
        diverged_after_reports: A run has failed after so many evaluations in a row that were not finite; None: never.
        seed: Seed of everything that this job draws at random.
        trial_number: Number of the trial that is being decided, from 1.
        power_scope: ``module`` when power is of the module that carries the GPU; empty: of the GPU.
        power_profile: The driver's workload power profile; empty: none.
        published: The knobs of a job that the policy ``zeus`` explores exactly as published; None: another one.
    """

    job_id: str
    gpu_model: str
    gpu_count: int
    default_batch_size: int = field(compare=False)
    max_power_watts: float = field(compare=False)
    power_limits_watts: tuple[int, ...] = field(compare=False, default=())
    target: Target | None = field(compare=False, default=None)
    max_epochs: int = field(compare=False, default=100)
    eta_knob: float = field(compare=False, default=0.5)
    beta_knob: float | None = field(compare=False, default=2.0)
    max_slowdown: float | None = field(compare=False, default=None)
    window_size: int = field(compare=False, default=0)
    first_run: FirstRun = field(compare=False, default="predicted")
    exploration_budget_runs: float | None = field(compare=False, default=1.0)
    diverged_after_reports: int | None = field(compare=False, default=3)
    seed: int = field(compare=False, default=0)
    trial_number: int = field(compare=False, default=1)
    power_scope: Literal["", "module"] = ""
    power_profile: str = ""
    published: Published | None = field(compare=False, default=None)

    def differs_in(self, other: "Job") -> frozenset[str]:
        """Return the names of the knobs that another view of the same placement has at other values.

        The seed and the number of the trial are none: states do not depend on them.
        """
        return frozenset(name for name in _KNOBS if getattr(self, name) != getattr(other, name))

    def random(self) -> np.random.Generator:
        """Return the generator of this trial: the same job and number draw the same, in any process."""
        return np.random.default_rng([self.seed, self.trial_number])

    def cost(self, energy_joules: float | None, time_seconds: float | None) -> float | None:
        """Return the cost in joules at this job's ``eta_knob``; see :func:`rheostat.policy.cost.known_cost`."""
        return known_cost(energy_joules, time_seconds, eta_knob=self.eta_knob, max_power_watts=self.max_power_watts)

    def price(self, outlay: Outlay) -> float:
        """Return the cost in joules of an outlay at this job's ``eta_knob``."""
        return outlay.price(eta_knob=self.eta_knob, max_power_watts=self.max_power_watts)

    def at_reference_knobs(self) -> "Job":
        """Return the placement at knobs that no setting changes: a state that is learnt with them depends on none.

        Whether a figure is an error, or what a failure is charged, must be judged when it comes, at some price. It is
        that of a GPU of nominal power with energy and time weighed alike, at which neither can be off unnoticed.
        """
        return replace(self, max_power_watts=float(NOMINAL_POWER_WATTS * self.gpu_count), **_REFERENCE_KNOBS)


_KNOBS = tuple(knob.name for knob in fields(Job) if not knob.compare and knob.name not in ("seed", "trial_number"))

_REFERENCE_KNOBS: dict[str, Any] = {
    "power_limits_watts": (),
    "eta_knob": 0.5,
    "beta_knob": 2.0,
    "max_slowdown": None,
    "first_run": "default",
    "exploration_budget_runs": None,
    "diverged_after_reports": None,
}

READ_TIME_KNOBS = frozenset({"max_power_watts", *_REFERENCE_KNOBS})
"""The knobs that a state does not depend on which is learnt with :meth:`Job.at_reference_knobs`, and keeps outlays."""
