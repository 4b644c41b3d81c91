"""What is played: a job that recurs in a world, in one of several ways."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, permutations

from rheostat.replay.backend import Backend, InProcess
from rheostat.replay.reference import Oracle, recurrence_costs, worst_behind
from rheostat.replay.run import Plan, job_of
from rheostat.replay.simulator import replay_job
from rheostat.replay.world import RecordedRun, World

CHECKPOINTS = (10, 20, 50, 100)
REFERENCES = ("oracle", "floor", "default")

DRIFT_AFTER = 50
DRIFT_FACTOR = 2
"""From then on every batch size below the default needs so many times the epochs."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a game came to.

    Attributes:
        excess: Excess cost over the oracle by number of recurrences.
        worst_behind: The farthest that it ever was behind always running the default at its best limit, under the same
            draws, in runs of the default.
    """

    excess: dict[int, float]
    worst_behind: float


@dataclass(frozen=True, slots=True)
class Game:
    """One job played under one policy.

    Attributes:
        scenario: Its heading.
        player: Name of a policy, or one of :data:`REFERENCES`.
        world: Where it is measured.
        eta_knob: Weight of energy against time.
        concurrency: So many recurrences are launched together.
        recurrences: How many are measured.
        survey: Whether it is measured before the first run what the policy asks for.
        before: Where it has recurred before that: the same world before a drift, or the same workload on another GPU.
    """

    scenario: str
    player: str
    world: World
    eta_knob: float = 0.5
    concurrency: int = 1
    recurrences: int = CHECKPOINTS[-1]
    survey: bool = True
    before: World | None = None

    @property
    def checkpoints(self) -> list[int]:
        """The numbers of recurrences at which the excess cost is reported."""
        return [n for n in CHECKPOINTS if n <= self.recurrences]

    def play(self, seed: int) -> dict[int, float]:
        """Return the excess cost over the oracle by number of recurrences."""
        return self.figures(seed).excess

    def figures(self, seed: int) -> Figures:
        """Return what the game comes to with a seed."""
        trials = replay_job(
            self.world,
            self.backend(seed),
            seed=seed,
            recurrences=self.recurrences,
            concurrency=self.concurrency,
            survey=self.survey,
        )
        costs = recurrence_costs(self.world, trials, recurrences=self.recurrences, eta_knob=self.eta_knob)
        total = list(accumulate(costs))
        oracle = self.world.oracle(self.eta_knob).cost
        excess = {n: total[n - 1] / (n * oracle) - 1.0 for n in self.checkpoints}
        behind = worst_behind(self.world, costs, seed=seed, eta_knob=self.eta_knob)
        assert behind is not None
        return Figures(excess, behind)

    def backend(self, seed: int) -> Backend:
        """Return who decides in this game."""
        if self.player in REFERENCES:
            return Oracle(
                self.world,
                self.eta_knob,
                first_at_default=self.player == "floor",
                always_default=self.player == "default",
            )
        plan = Plan(self.player, self.eta_knob, 2.0, self.recurrences, (seed,), self.concurrency)
        settings, gpu = job_of(self.world, plan, seed)
        if self.before is None:
            return InProcess(settings, gpu)
        old_settings, old_gpu = job_of(self.before, plan, seed)
        limits = sorted({*self.world.power_limits_watts, *self.before.power_limits_watts})
        earlier = InProcess(old_settings.model_copy(update={"power_limits_watts": limits}), old_gpu)
        replay_job(self.before, earlier, seed=seed + 10_000, recurrences=DRIFT_AFTER, survey=self.survey)
        return earlier if old_gpu == gpu else InProcess(settings, gpu, beside=earlier)


def one_at_a_time(worlds: Sequence[World], policies: Sequence[str], heading: str) -> list[Game]:
    """Return a job on every world, from nothing, with the references beside the policies."""
    players = (*policies, *reversed(REFERENCES))
    return [Game(f"{heading}, one at a time", player, world) for player in players for world in worlds]


def together(worlds: Sequence[World], policies: Sequence[str], heading: str, concurrency: int) -> list[Game]:
    """Return jobs of which several recurrences are launched together."""
    title = f"{heading}, {concurrency} in flight"
    players = (*policies, "floor")
    return [Game(title, player, world, concurrency=concurrency) for player in players for world in worlds]


def eta_sweep(worlds: Sequence[World], policies: Sequence[str], heading: str, etas: Sequence[float]) -> list[Game]:
    """Return jobs that weigh energy against time in other ways."""
    return [
        Game(f"{heading}, eta_knob {eta:g}", player, world, eta_knob=eta)
        for eta in etas
        for player in policies
        for world in worlds
    ]


def drift(worlds: Sequence[World], policies: Sequence[str], heading: str) -> list[Game]:
    """Return jobs whose small batch sizes have just come to need more epochs."""
    title = f"{heading}, after a drift"
    pairs = [(world, drifted(world)) for world in worlds]
    return [Game(title, player, new, before=old) for player in policies for old, new in pairs if _is_solvable(new)]


def transfer(worlds: Sequence[World], policies: Sequence[str], heading: str) -> list[Game]:
    """Return jobs that have recurred on another GPU before, with the batch sizes that were recorded on both."""
    title = f"{heading}, warm from another GPU"
    pairs = [
        (_with_sizes_of(old, new), _with_sizes_of(new, old))
        for old, new in permutations(worlds, 2)
        if old.workload == new.workload and old.gpu_model != new.gpu_model
    ]
    return [Game(title, player, new, before=old) for player in policies for old, new in pairs]


def drifted(world: World) -> World:
    """Return the world after its data have changed: batch sizes below the default need more epochs."""
    runs = {
        size: tuple(_slower(run, world.max_epochs) for run in runs) if size < world.default_batch_size else runs
        for size, runs in world.runs.items()
    }
    return replace(world, runs=runs)


def _with_sizes_of(world: World, other: World) -> World:
    """Return a world without the batch sizes that another one does not offer."""
    return replace(world, runs={size: runs for size, runs in world.runs.items() if size in other.runs})


def _slower(run: RecordedRun, max_epochs: int) -> RecordedRun:
    levels = tuple((DRIFT_FACTOR * epoch, level) for epoch, level in run.levels if DRIFT_FACTOR * epoch <= max_epochs)
    done = None if run.epochs_to_target is None else DRIFT_FACTOR * run.epochs_to_target
    return RecordedRun(levels, None if done is None or done > max_epochs else done, run.start)


def _is_solvable(world: World) -> bool:
    return any(run.epochs_to_target is not None for runs in world.runs.values() for run in runs)
