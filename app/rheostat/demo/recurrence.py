"""Recurrences of the job: runs until one reaches the target, through the server or with the default."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import repeat

import numpy as np

from rheostat.agent.simulated import MAX_POWER_LIMIT_WATTS
from rheostat.demo.digits import (
    DEFAULT_BATCH_SIZE,
    DEFAULT_LEARNING_RATE,
    ETA_KNOB,
    MAX_EPOCHS,
    TARGET_ACCURACY,
    Digits,
    Network,
    job_settings,
)
from rheostat.demo.simulated_gpu import SimulatedGpu
from rheostat.demo.survey import survey
from rheostat.errors import RheostatError, ServerUnreachable
from rheostat.schemas.power import PowerLimitMeasurement
from rheostat.sdk import Client, RunningTrial
from rheostat.sdk.node_agent import NodeAgent

JOB_ID = "demo"

# The server lets a run finish after it has stopped three in a row, so that this many runs mean a fault.
_MOST_RUNS = 20


@dataclass(frozen=True, slots=True)
class RunResult:
    """One run: its batch size, and whether it reached the target."""

    batch_size: int
    converged: bool


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A recurrence that reached the target; time and energy are those of all its runs, and of a survey before them.

    Attributes:
        batch_size: Batch size of the run that reached the target.
        power_limit_watts: Its power limit at the end.
        runs: Number of runs.
        energy_joules: Simulated energy.
        time_seconds: Simulated time.
    """

    batch_size: int
    power_limit_watts: int
    runs: int
    energy_joules: float
    time_seconds: float

    @property
    def cost_joules(self) -> float:
        """The cost that the job minimises: energy, and time at the GPU's highest power, weighed by its `eta_knob`."""
        time_joules = MAX_POWER_LIMIT_WATTS * self.time_seconds
        return ETA_KNOB * self.energy_joules + (1 - ETA_KNOB) * time_joules


OnEpoch = Callable[[int, int, int, float], None]
"""Is called after every epoch with batch size, power limit in watts, epoch and accuracy."""

_TrainOnce = Callable[[SimulatedGpu, np.random.RandomState], RunResult]


class RecurringJob:
    """Runs the recurrences of the job.

    Args:
        client: Client of the demo's server.
        agent: Client of the demo's node agent, whose GPU is simulated.
        seed: With the number of the recurrence and of the run it seeds initial weights and shuffles, which are the same
            for a recurrence and its baseline.
        on_epoch: Is called after every epoch.
    """

    def __init__(self, client: Client, agent: NodeAgent, seed: int, on_epoch: OnEpoch) -> None:
        self._client = client
        self._agent = agent
        self._seed = seed
        self._on_epoch = on_epoch
        self._settings = job_settings(seed)
        self._digits = Digits()

    def with_rheostat(self, number: int) -> Recurrence:
        """Run a recurrence with what the server predicts, after a survey where the server wants to know more first."""
        surveyed = survey(self._client, self._agent, JOB_ID, self._settings)
        recurrence = self._until_converged(number, self._run_with_rheostat)
        return replace(
            recurrence,
            energy_joules=recurrence.energy_joules + surveyed.energy_joules,
            time_seconds=recurrence.time_seconds + surveyed.time_seconds,
        )

    def baseline(self, number: int) -> Recurrence:
        """Run a recurrence with the default batch size at full power, without the server."""
        return self._until_converged(number, self._run_baseline)

    def _until_converged(self, number: int, train_once: _TrainOnce) -> Recurrence:
        energy_joules = time_seconds = 0.0
        for runs in range(1, _MOST_RUNS + 1):
            gpu = SimulatedGpu(self._agent)
            result = train_once(gpu, np.random.RandomState([self._seed, number, runs]))
            energy_joules += gpu.energy_joules
            time_seconds += gpu.time_seconds
            if result.converged:
                return Recurrence(result.batch_size, gpu.power_limit_watts, runs, energy_joules, time_seconds)
        raise RheostatError(f"Recurrence {number} did not reach its target in {_MOST_RUNS} runs.")

    def _run_with_rheostat(self, gpu: SimulatedGpu, random: np.random.RandomState) -> RunResult:
        with self._client.trial(JOB_ID, self._settings, node_agent=self._agent) as trial:
            if trial.trial_id is None or trial.learning_rate is None:
                raise ServerUnreachable("The demo's server does not answer.")
            network = Network(self._digits, trial.batch_size, trial.learning_rate, random)
            slices = _slices(trial, gpu, network.steps_per_epoch)
            accuracy = 0.0
            for accuracy in self._epochs(network, gpu, slices):
                action = trial.report(accuracy, energy_joules=gpu.energy_joules, time_seconds=gpu.time_seconds)
                if action == "stop":
                    break
            return RunResult(trial.batch_size, accuracy >= TARGET_ACCURACY)

    def _run_baseline(self, gpu: SimulatedGpu, random: np.random.RandomState) -> RunResult:
        network = Network(self._digits, DEFAULT_BATCH_SIZE, DEFAULT_LEARNING_RATE, random)
        epochs = self._epochs(network, gpu, repeat(network.steps_per_epoch))
        return RunResult(DEFAULT_BATCH_SIZE, any(accuracy >= TARGET_ACCURACY for accuracy in epochs))

    def _epochs(self, network: Network, gpu: SimulatedGpu, slices: Iterator[int]) -> Iterator[float]:
        """Train in slices of so many steps, and yield the accuracy after every epoch."""
        of_slice = 0
        for epoch in range(1, MAX_EPOCHS + 1):
            accuracy = network.train_one_epoch()
            of_epoch = network.steps_per_epoch
            while of_epoch:
                of_slice = of_slice or next(slices)
                steps = min(of_epoch, of_slice)
                gpu.run(network.batch_size, steps)
                of_epoch, of_slice = of_epoch - steps, of_slice - steps
            self._on_epoch(network.batch_size, gpu.power_limit_watts, epoch, accuracy)
            yield accuracy


def _slices(trial: RunningTrial, gpu: SimulatedGpu, steps_per_epoch: int) -> Iterator[int]:
    """Set the limit of the next steps and yield their number: first the limits to measure, then the best one.

    A trainer on a real GPU only calls `trial.steps(loader)`; here time is simulated too.
    """
    steps = max(1, steps_per_epoch // max(1, len(trial.profile_power_limits_watts)))
    while trial.profile_power_limits_watts:
        limit = trial.profile_power_limits_watts[0]
        trial.limit_power(limit)
        energy_before, time_before = gpu.energy_joules, gpu.time_seconds
        yield steps
        trial.measured(
            [
                PowerLimitMeasurement(
                    power_limit_watts=limit,
                    time_seconds=gpu.time_seconds - time_before,
                    energy_joules=gpu.energy_joules - energy_before,
                    steps=steps,
                    steps_per_epoch=steps_per_epoch,
                )
            ]
        )
    trial.limit_power(trial.power_limit_watts or MAX_POWER_LIMIT_WATTS)
    yield from repeat(steps_per_epoch)
