"""Which arm to run next: what a run is hoped to teach, weighed against what it costs more than the best known arm.

The knowledge gradient (Frazier, Powell, Dayanik 2008): how much cheaper the best known arm is expected to be after a
run of arm ``i`` than before it. A run moves the belief of all arms ``j`` along ``a = Cf[j, i] / sqrt(Cf[i, i] +
noise)``, and by profiling an arm that was not measured along ``c = Cg[j, i] / sqrt(Cg[i, i])``. With 96 fixed pairs of
normals (Z1, Z2)::

    U = h + Z1 a + Z2 c
    KG_i = mean[exp(U_best) - min over converged arms and i of exp(U)]

All costs are in units of ``C0``, what a run of the best known arm is expected to cost.
"""

from dataclasses import dataclass

import numpy as np

from rheostat.policy.recommender.belief import Belief
from rheostat.policy.recommender.normal import Array, halton_normals

DRAWS = halton_normals(96)

HORIZON = 25.0
"""Future runs that profit from what is learnt, at the start ..."""

HORIZON_GROWTH = 0.5
"""... and for every run so far: a job that has recurred for long will go on for long (Lindy's law)."""

CAPPED_SHARE = 0.8
"""What trying an arm that never converged costs at most, in units of C0: the stopping rule ends hopeless runs. One
that was stopped before, and is watched less closely the next time, may cost all that ``beta_knob`` allows."""

CLEARLY_WORSE = 0.3
"""A converged arm that is expected to be worse by more than that (a log) is stopped in time, too."""

_CLOSED = 50.0


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a run of each arm is worth, arrays of shape (arms,) in units of C0.

    Attributes:
        gain: Expected saving of each later run.
        extra: Expected cost of this run beyond the best known arm's.
        score: What is maximised; minus infinity for an arm that may not run.
    """

    gain: Array
    extra: Array
    score: Array


def weigh(
    belief: Belief,
    best: int,
    *,
    allowed: np.ndarray,
    open_arms: np.ndarray,
    stopped_before: np.ndarray,
    learned: int,
    beta_knob: float | None,
) -> Prospect:
    """Return what a run of each arm is worth.

    Args:
        belief: Of all arms.
        best: The best known arm.
        allowed: Which arms may run now.
        open_arms: Which arms may run at all: the others are no alternative.
        stopped_before: Which arms were stopped before.
        learned: Converged runs of the placement since evidence was last discounted.
        beta_knob: A run is stopped at this multiple of C0; None: never, so that nothing caps its cost.
    """
    relative = np.where(open_arms, belief.log_cost - belief.log_cost[best], _CLOSED)
    gain = _knowledge_gradient(belief, relative, best, open_arms)
    deviation = np.sqrt(belief.log_cost_variance + belief.noise)
    costs = np.exp(np.minimum(relative + DRAWS[:, :1] * deviation, _CLOSED))
    if beta_knob is not None:
        first_epoch = np.exp(np.minimum(belief.epoch_costs.mean - belief.log_cost[best], _CLOSED))
        share = np.where(stopped_before, beta_knob - 1.0, min(CAPPED_SHARE, beta_knob - 1.0))
        cap = np.maximum(share, first_epoch)
        capped = ~belief.converged | (relative > CLEARLY_WORSE)
        costs = np.where(capped, np.minimum(costs, 1.0 + cap), costs)
    extra = costs.mean(axis=0) - 1.0
    horizon = HORIZON + HORIZON_GROWTH * learned
    score = np.where(allowed, horizon * gain - extra, -np.inf)
    score[best] = HORIZON * gain[best]
    return Prospect(gain, extra, score)


def _knowledge_gradient(belief: Belief, relative: Array, best: int, open_arms: np.ndarray) -> Array:
    variance, cost_variance = belief.epochs.variance, belief.epoch_costs.variance
    along_epochs = belief.epochs.covariance / np.sqrt(variance + belief.noise)
    unmeasured = np.where(belief.measured, np.inf, np.maximum(cost_variance, 1e-12))
    along_costs = belief.epoch_costs.covariance / np.sqrt(unmeasured)
    # Shape (arm that runs, draw, arm that is judged).
    moved = relative + DRAWS[:, 0, None] * along_epochs.T[:, None, :] + DRAWS[:, 1, None] * along_costs.T[:, None, :]
    costs = np.exp(np.minimum(moved, _CLOSED))
    candidates = (belief.converged & open_arms) | np.eye(len(relative), dtype=bool)
    cheapest = np.where(candidates[:, None, :], costs, np.inf).min(axis=2)
    gain: Array = np.maximum((costs[:, :, best] - cheapest).mean(axis=1), 0.0)
    return gain
