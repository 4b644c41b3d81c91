"""A trainer whose runs are known beforehand, driven through the advisor as the service drives it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from rheostat.policy.advisor import Advisor, Stores
from rheostat.policy.cost import PowerMeasurement
from rheostat.policy.interface import Job, Situation, TrialState
from rheostat.policy.learning_curve import LearningCurve, Target
from rheostat.policy.recommender.optimizer import POLICY
from tests.policy.examples import JsonStore, a_job

SIZES = (8, 16, 32, 64, 128)
ACCURACY = Target("accuracy", 0.9, maximize=True)

EPOCHS: Mapping[int, float] = {8: 20, 16: 14, 32: 18, 64: 30, 128: 60}
"""Epochs to the target; the epoch below costs the same everywhere, so 16 is the best batch size."""

JOULES_PER_EPOCH = 100.0


@dataclass
class Trainer:
    """Runs the job of :func:`tests.policy.examples.a_job` with a target, and notes what became of each trial.

    Attributes:
        job: The placement.
        epochs: Epochs to the target by batch size; a missing one never reaches it.
        joules: What an epoch costs, by batch size; a missing one :data:`JOULES_PER_EPOCH`.
        sizes: The batch sizes on offer.
        bows: By batch size the power of the share of its epochs that the metric follows; a missing one is 1, a line.
        with_power: Whether power limits are measured, as an agent would.
        advisor: Shared between the placements of a job.
        trials: Batch size, epochs run and end of every trial.
    """

    job: Job = field(default_factory=lambda: a_job(target=ACCURACY, max_epochs=100))
    epochs: Mapping[int, float] = field(default_factory=lambda: dict(EPOCHS))
    joules: Mapping[int, float] = field(default_factory=dict)
    sizes: tuple[int, ...] = SIZES
    bows: Mapping[int, float] = field(default_factory=dict)
    with_power: bool = True
    advisor: Advisor = field(default_factory=lambda: Advisor(POLICY, Stores(JsonStore(), JsonStore(), JsonStore())))
    trials: list[tuple[int, float, TrialState]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.advisor.register(self.job, self.sizes)

    def choose(self, *pending: int, permitted: tuple[int, ...] = ()) -> int:
        """Return the batch size of a further trial."""
        return self.advisor.choose(self.job, Situation(permitted or self.sizes, pending)).batch_size

    def cost_of_epoch(self, batch_size: int) -> float:
        """Return what an epoch costs in joules."""
        return self.joules.get(batch_size, JOULES_PER_EPOCH)

    def run(
        self, batch_size: int, *, epochs_factor: float = 1.0, cost_factor: float = 1.0, power_factor: float = 1.0
    ) -> TrialState:
        """Run a trial to its end; the factors falsify what is reported."""
        self.measure(batch_size, power_factor)
        curve, epoch, cost = LearningCurve(), 0, 0.0
        needs = self.epochs.get(batch_size, float("inf")) * epochs_factor
        state: TrialState = "running"
        while state == "running":
            epoch += 1
            metric = 0.9 * min(epoch / needs, 1.0) ** self.bows.get(batch_size, 1.0)
            curve = curve.add(float(epoch), metric, self.job.target)
            cost = epoch * self.cost_of_epoch(batch_size) * cost_factor
            state = self.advisor.assess(
                self.job, batch_size=batch_size, epoch=float(epoch), metric=metric, cost=cost, curve=curve
            ).state
        self.advisor.conclude(self.job, state, batch_size=batch_size, cost=cost, epochs=float(epoch), curve=curve)
        self.trials.append((batch_size, float(epoch), state))
        return state

    def measure(self, batch_size: int, factor: float = 1.0) -> None:
        """Measure the power limits that are asked for; 200 W is the best."""
        while self.with_power and self.advisor.power(self.job, batch_size).power_limit_watts is None:
            limit = self.advisor.power(self.job, batch_size).profile_power_limits_watts[0]
            cost = self.cost_of_epoch(batch_size) * (1.0 + abs(limit - 200) / 500) * factor
            self.advisor.measure(self.job, batch_size, PowerMeasurement(limit, cost, cost / 300.0, cost))

    def survey(
        self, permitted: tuple[int, ...] = SIZES, factors: Mapping[int, float] = MappingProxyType({})
    ) -> list[int]:
        """Measure what a survey asks for, falsified by the factors; return the batch size of each slice."""
        measured = []
        while steps := self.advisor.survey(self.job, Situation(permitted)).steps:
            size, limit = steps[0].batch_size, steps[0].power_limits_watts[0]
            cost = self.cost_of_epoch(size) * (1.0 + abs(limit - 200) / 500) * factors.get(size, 1.0)
            self.advisor.measure(self.job, size, PowerMeasurement(limit, cost, cost / 300.0, cost, surveyed=True))
            measured.append(size)
        return measured

    def recur(self, times: int) -> list[int]:
        """Let the job recur, each time until a run converges; return what the converged runs trained with."""
        chosen = []
        for _ in range(times):
            tries = 0
            while self.run(size := self.choose()) != "converged":
                tries += 1
                assert tries < 20
            chosen.append(size)
        return chosen

    def estimate(self, batch_size: int) -> tuple[float, float, float]:
        """Return mean and interval of an arm's cost."""
        cost = {arm.batch_size: arm.cost for arm in self.advisor.estimates(self.job)}[batch_size]
        assert cost.mean is not None
        assert cost.low is not None
        assert cost.high is not None
        return cost.mean, cost.low, cost.high

    def on(self, *, joules: Mapping[int, float] | None = None, **changes: Any) -> "Trainer":
        """Return a trainer of the same job on other GPUs, where an epoch may cost something else."""
        joules = self.joules if joules is None else joules
        return replace(self, job=replace(self.job, **changes), joules=joules, trials=[])
