"""The recommender as a policy: its state goes in and out here, and what it decides is decided elsewhere."""

from functools import lru_cache

import numpy as np

from rheostat.policy.cost import Outlay, given_cost
from rheostat.policy.estimates import Account, ArmEstimate, CostPrediction
from rheostat.policy.interface import (
    READ_TIME_KNOBS,
    STATE_OF_VERDICT,
    BatchSizeOptimizer,
    Choice,
    Job,
    Policy,
    Progress,
    Result,
    Situation,
)
from rheostat.policy.recommender import choosing, drift, early_stopping, explanations, learning, surveying
from rheostat.policy.recommender.belief import Belief
from rheostat.policy.recommender.evidence import UNSEEN, Evidence
from rheostat.policy.recommender.knowledge import Knowledge, gather, gather_to_learn, siblings
from rheostat.policy.recommender.normal import Array
from rheostat.policy.recommender.power_sweep import PowerSweep
from rheostat.policy.surveys import Survey

DRAWS_FOR_CHANCES = 4000


class Recommender(BatchSizeOptimizer):
    """Gaussian beliefs of epochs and epoch costs, a knowledge gradient to choose, learning curves to stop.

    State: :class:`rheostat.policy.recommender.evidence.Evidence`.
    """

    replaces_state = True
    read_time_knobs = READ_TIME_KNOBS

    @property
    def name(self) -> str:
        """The name ``rheostat``."""
        return "rheostat"

    def register_job(self, job: Job, batch_sizes: list[int]) -> None:
        """Start without any evidence."""
        self.store[job] = Evidence(dict.fromkeys(sorted(batch_sizes), UNSEEN)).to_state()

    def add_batch_sizes(self, job: Job, batch_sizes: list[int]) -> bool:
        """Start the further ones without any evidence: what is learnt does not depend on them."""
        evidence = Evidence.from_state(self.store[job])
        arms = {size: evidence.arms.get(size, UNSEEN) for size in sorted(batch_sizes)}
        self.store[job] = evidence._replace(arms=arms).to_state()
        return True

    def predict(self, job: Job) -> int:
        """Return the batch size for a trial that runs alone on a GPU that fits them all."""
        known = self._gather(job)
        return choosing.choose(known, Situation(known.grid.batch_sizes), self.power_limits).batch_size

    def choose(self, job: Job, situation: Situation) -> Choice:
        """Run the best known batch size, or one that is worth trying; before any success the default."""
        return choosing.choose(self._gather(job), situation, self.power_limits)

    def best_known(self, job: Job, situation: Situation) -> Choice | None:
        """Return the best known batch size, or None before any success."""
        return choosing.best_known(self._gather(job), situation)

    def survey(self, job: Job, situation: Situation) -> Survey:
        """Ask for the power limits at the default, then for all other batch sizes, before the first run alone."""
        return surveying.plan(self._gather(job), situation, self.power_limits)

    def early_stop(self, job: Job, progress: Progress) -> str | None:
        """Stop a run that passes its cost bound, or whose learning curve says that it is not worth its cost."""
        return early_stopping.early_stop(self._gather(job), progress)

    def observe(self, job: Job, batch_size: int, cost: float, converged: bool | None = None) -> None:
        """Learn what a whole run cost."""
        self.conclude(job, Result(batch_size, cost, STATE_OF_VERDICT[converged]))

    def conclude(self, job: Job, result: Result) -> None:
        """Learn from a run that is over; when it shows that the data have changed, discount all placements' past."""
        known = gather_to_learn(self.store, self.power_limits, job, result.batch_size)
        update = learning.learn(known, result)
        self.store[job] = update.evidence.to_state()
        if update.outdated is not None:
            for other in siblings(self.store, job):
                evidence = Evidence.from_state(self.store[other])
                self.store[other] = drift.discount(evidence, update.outdated).to_state()

    def learn_epoch_cost(self, job: Job, batch_size: int, cost: float) -> None:
        """Learn what an epoch cost in a run that tells nothing else."""
        self.learn_part(job, batch_size, given_cost(cost))

    def learn_part(self, job: Job, batch_size: int, epoch: Outlay) -> None:
        """Learn what an epoch took in a run that tells nothing else."""
        evidence = Evidence.from_state(self.store[job])
        arm = evidence.arms[batch_size].with_epoch_cost(epoch)
        self.store[job] = evidence.with_arm(batch_size, arm).to_state()

    def estimates(self, job: Job) -> tuple[ArmEstimate, ...]:
        """Return the estimates of each arm."""
        known = self._gather(job)
        chances = {} if known.belief is None else _chances(known, known.belief)
        return tuple(explanations.arm_estimate(known, size, chances.get(size)) for size in known.grid.batch_sizes)

    def predicted_cost(self, job: Job, batch_size: int) -> CostPrediction | None:
        """Return the belief of a run's cost, or None before any success, or where no epoch cost is known here."""
        known = self._gather(job)
        if known.belief is None or not known.belief.has_level:
            return None
        return known.belief.predicted_cost(known.grid.index(batch_size))

    def account(self, job: Job) -> Account | None:
        """Return what exploring has cost against the default, and the better arms have saved."""
        return self._gather(job).account

    def _gather(self, job: Job) -> Knowledge:
        return gather(self.store, self.power_limits, job)


def _chances(known: Knowledge, belief: Belief) -> dict[int, float]:
    """Return how likely each arm is the cheapest, over fixed joint draws; a closed one is not."""
    sizes = known.grid.batch_sizes
    variances, axes = np.linalg.eigh(belief.epochs.covariance + belief.epoch_costs.covariance)
    draws = belief.log_cost + _standard_draws(len(sizes)) @ (axes * np.sqrt(np.abs(variances))).T
    draws[:, [size in known.closed for size in sizes]] = np.inf
    wins = np.bincount(draws.argmin(axis=1), minlength=len(sizes))
    return {size: float(count) / DRAWS_FOR_CHANCES for size, count in zip(sizes, wins, strict=True)}


@lru_cache(maxsize=32)
def _standard_draws(arms: int) -> Array:
    """Return draws of independent standard normals: drawing them takes longer than the rest of the chances."""
    draws: Array = np.random.default_rng(0).standard_normal((DRAWS_FOR_CHANCES, arms))
    draws.flags.writeable = False  # many share it
    return draws


POLICY = Policy(batch_size=Recommender, power_limit=PowerSweep)
"""The entry point ``rheostat`` of the group ``rheostat.policies``."""
