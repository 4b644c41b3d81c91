"""What a policy is compared with: one that knows the best choice in advance, and always running the default."""

from collections.abc import Sequence
from itertools import accumulate

from rheostat.errors import PolicyFailed
from rheostat.policy.advisor import PowerAdvice
from rheostat.policy.interface import TrialState
from rheostat.replay.backend import Launch, Report, Slice, SurveySlice
from rheostat.replay.simulator import TrialRecord, replay_job
from rheostat.replay.world import World


class Oracle:
    """A :class:`rheostat.replay.backend.Backend` that runs the best expected choice from the first trial on.

    Args:
        world: Where.
        eta_knob: Weight of energy against time.
        first_at_default: Whether, until one has converged, trials run the default and sweep all power limits: the
            floor of what a policy can do that knows nothing before.
        always_default: Whether all trials run the default, at its best limit: what doing nothing else comes to.
    """

    def __init__(
        self, world: World, eta_knob: float, *, first_at_default: bool = False, always_default: bool = False
    ) -> None:
        self._world = world
        self._eta_knob = eta_knob
        self._learning = first_at_default
        self._always_default = always_default
        self._swept: list[int] = []
        self._launched = 0

    def survey(self) -> SurveySlice | None:
        """Ask for nothing."""
        return None

    def observe_survey(self, wanted: SurveySlice, measured: Slice) -> None:
        """Take a slice of a survey, of which there is none."""

    def predict(self) -> Launch:
        """Launch a trial."""
        self._launched += 1
        world = self._world
        if self._always_default:
            return Launch(
                str(self._launched), self._launched, world.default_batch_size, PowerAdvice(self._best_limit())
            )
        if not self._learning:
            best = world.oracle(self._eta_knob)
            return Launch(str(self._launched), self._launched, best.batch_size, PowerAdvice(best.power_limit_watts))
        power = PowerAdvice(None, world.power_limits_watts) if not self._swept else PowerAdvice(self._best_limit())
        return Launch(str(self._launched), self._launched, world.default_batch_size, power)

    def observe_power_limit(self, launch: Launch, measured: Slice) -> PowerAdvice:
        """Take a measured limit; once all are measured, advise the best."""
        self._swept.append(measured.power_limit_watts)
        left = tuple(watts for watts in launch.power.profile_power_limits_watts if watts not in self._swept)
        return PowerAdvice(None, left) if left else PowerAdvice(self._best_limit())

    def observe(self, launch: Launch, report: Report) -> TrialState:
        """Let the trial run to its target or its last epoch."""
        metric, target = report.metric, self._world.target
        if metric is not None and target.reached(metric):
            self._learning = False
            return "converged"
        if report.epoch >= self._world.max_epochs:
            return "failed"
        return "running"

    def _best_limit(self) -> int:
        figures = self._world.figures[self._world.default_batch_size]
        return min(
            self._world.power_limits_watts,
            key=lambda watts: self._world.cost(
                figures[watts].energy_joules, figures[watts].time_seconds, self._eta_knob
            ),
        )


def recurrence_costs(world: World, trials: Sequence[TrialRecord], *, recurrences: int, eta_knob: float) -> list[float]:
    """Return what each recurrence cost, in joules."""
    costs = [0.0] * recurrences
    for trial in trials:
        costs[trial.recurrence - 1] += world.cost(trial.energy_joules, trial.time_seconds, eta_knob)
    return costs


def worst_behind(world: World, costs: Sequence[float], *, seed: int, eta_knob: float) -> float | None:
    """Return the farthest that recurrences ever were behind always running the default, in runs of the default.

    The default runs at its best limit, under the same draws. None where it does not converge.

    Args:
        world: Where.
        costs: What each recurrence cost.
        seed: Seed of the drawn runs.
        eta_knob: Weight of energy against time.
    """
    backend = Oracle(world, eta_knob, always_default=True)
    try:
        trials = replay_job(world, backend, seed=seed, recurrences=len(costs))
    except PolicyFailed:
        return None
    default = list(accumulate(recurrence_costs(world, trials, recurrences=len(costs), eta_knob=eta_knob)))
    behind = max(spent - would_be for spent, would_be in zip(accumulate(costs), default, strict=True))
    return behind / (default[-1] / len(costs))
