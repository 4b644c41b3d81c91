"""The driver of a replay: recurrence after recurrence, a recorded run is trained as the backend says."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from rheostat.errors import PolicyFailed
from rheostat.policy.interface import TrialState
from rheostat.replay.backend import Backend, Launch, Report, Slice
from rheostat.replay.traces import EpochFigures
from rheostat.replay.world import RecordedRun, World

MOST_TRIES = 20
"""A recurrence that has not converged after so many trials never will."""

SURVEY_NOISE = 0.02
"""Standard deviation of the logarithm of what a slice of a survey measures."""

_OF_A_SURVEY = 2**31
"""Stands for the number of a recurrence in the seed of a survey's noise."""


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """What became of one trial.

    Attributes:
        recurrence: Which recurrence of the job it was for, from 1.
        attempt: Which try of that recurrence, from 1.
        number: Counts the job's trials in the order of their launch, from 1.
        batch_size: What it trained with.
        power_limit_watts: The limit that it trained under after the first epoch.
        profiled_power_limits_watts: The limits that its first epoch measured, in order.
        epochs: How many it ran.
        state: How it ended.
        energy_joules: What it drew; of the first trial, with the survey before it.
        time_seconds: How long it trained, likewise.
    """

    recurrence: int
    attempt: int
    number: int
    batch_size: int
    power_limit_watts: int
    profiled_power_limits_watts: tuple[int, ...]
    epochs: int
    state: TrialState
    energy_joules: float
    time_seconds: float


def replay_job(
    world: World,
    backend: Backend,
    *,
    seed: int,
    recurrences: int,
    concurrency: int = 1,
    survey: bool = False,
    on_recurrence: Callable[[], None] = lambda: None,
) -> tuple[TrialRecord, ...]:
    """Replay a job and return its trials, recurrence by recurrence.

    Args:
        world: The recorded workload on its GPU.
        backend: Decides.
        seed: Seed of the drawn runs; the backend's own draws do not touch them.
        recurrences: How often the job recurs.
        concurrency: So many recurrences are launched together, then each is run to its end in order.
        survey: Whether to measure, before the first trial, what the backend asks for.
        on_recurrence: Called after each recurrence.

    Raises:
        PolicyFailed: A recurrence did not converge, or the backend asked for what no trainer can do.
    """
    records: list[TrialRecord] = []
    energy, time = _survey(world, backend, seed) if survey else (0.0, 0.0)
    for first in range(1, recurrences + 1, concurrency):
        together = range(first, min(first + concurrency, recurrences + 1))
        launches = [backend.predict() for _ in together]
        for recurrence, launch in zip(together, launches, strict=True):
            records += _run_recurrence(world, backend, launch, seed, recurrence)
            on_recurrence()
    surveyed = replace(
        records[0], energy_joules=records[0].energy_joules + energy, time_seconds=records[0].time_seconds + time
    )
    return (surveyed, *records[1:])


def _survey(world: World, backend: Backend, seed: int) -> tuple[float, float]:
    """Measure slices of training until the backend asks for no more; return the energy and time that they took."""
    random = np.random.default_rng([seed, _OF_A_SURVEY])
    energy = time = 0.0
    at_default = world.figures[world.default_batch_size][world.power_limits_watts[0]].time_seconds
    while wanted := backend.survey():
        longest = min(wanted.slice_epochs * at_default, wanted.slice_seconds)
        figures = world.figures[wanted.batch_size][wanted.power_limit_watts]
        share = longest / figures.time_seconds
        energy += share * figures.energy_joules
        time += longest
        noise = float(np.exp(random.normal(0.0, SURVEY_NOISE)))
        backend.observe_survey(
            wanted, Slice(wanted.power_limit_watts, noise * longest, noise * share * figures.energy_joules, 1.0 / share)
        )
    return energy, time


def _run_recurrence(world: World, backend: Backend, launch: Launch, seed: int, recurrence: int) -> list[TrialRecord]:
    """Run trials until one converges."""
    records: list[TrialRecord] = []
    while True:
        attempt = len(records) + 1
        run = _draw(world.runs[launch.batch_size], seed, recurrence, attempt)
        records.append(_run_trial(world, backend, launch, run, recurrence=recurrence, attempt=attempt))
        if records[-1].state == "converged":
            return records
        if attempt == MOST_TRIES:
            tried = ", ".join(str(record.batch_size) for record in records)
            raise PolicyFailed(
                f"{world.workload} on {world.gpu_model}: recurrence {recurrence} did not reach "
                f"{world.target.value:g} in {MOST_TRIES} trials; their batch sizes: {tried}.",
                hint="The policy avoids the batch sizes that converge, or stops them: try another, "
                "a larger --beta-knob, or an easier --target.",
            )
        launch = backend.predict()


def _draw(runs: tuple[RecordedRun, ...], seed: int, recurrence: int, attempt: int) -> RecordedRun:
    """Draw one recorded run, the same whatever the backend drew.

    Recurrence and try count from 1: numpy takes (seed, n, 0) for (seed, n), which is the policy's own generator.
    """
    return runs[np.random.default_rng([seed, recurrence, attempt]).integers(len(runs))]


def _run_trial(
    world: World, backend: Backend, launch: Launch, run: RecordedRun, *, recurrence: int, attempt: int
) -> TrialRecord:
    limit, profiled = _sweep(world, backend, launch)
    figures = world.figures[launch.batch_size]
    energy, time = world.setup.energy_joules, world.setup.time_seconds
    first_energy, first_time = _mean_epoch([figures[watts] for watts in profiled or (limit,)])
    for epoch in range(1, world.max_epochs + 1):
        energy += world.evaluation.energy_joules + (figures[limit].energy_joules if epoch > 1 else first_energy)
        time += world.evaluation.time_seconds + (figures[limit].time_seconds if epoch > 1 else first_time)
        state = backend.observe(launch, Report(epoch, run.metric_at(epoch), energy, time))
        if state != "running":
            return TrialRecord(
                recurrence=recurrence,
                attempt=attempt,
                number=launch.number,
                batch_size=launch.batch_size,
                power_limit_watts=limit,
                profiled_power_limits_watts=profiled,
                epochs=epoch,
                state=state,
                energy_joules=energy,
                time_seconds=time,
            )
    raise PolicyFailed(f"Trial {launch.number} still runs after its {world.max_epochs} epochs.")


def _sweep(world: World, backend: Backend, launch: Launch) -> tuple[int, tuple[int, ...]]:
    """Measure power limits until the backend knows the best; return it, and what was measured in order.

    The slices divide the first epoch evenly by the number of limits that are asked for at the launch.
    """
    advice = launch.power
    per_epoch = len(advice.profile_power_limits_watts)
    profiled: list[int] = []
    while advice.power_limit_watts is None:
        wanted = [watts for watts in advice.profile_power_limits_watts if watts not in profiled]
        if not wanted:
            raise PolicyFailed(
                f"Trial {launch.number} has neither a power limit nor one left to measure at batch size "
                f"{launch.batch_size}, after {profiled}."
            )
        figures = world.figures[launch.batch_size][wanted[0]]
        time, energy = figures.time_seconds / per_epoch, figures.energy_joules / per_epoch
        profiled.append(wanted[0])
        advice = backend.observe_power_limit(launch, Slice(wanted[0], time, energy, per_epoch))
    return advice.power_limit_watts, tuple(profiled)


def _mean_epoch(epochs: list[EpochFigures]) -> tuple[float, float]:
    """Return energy and time of an epoch that was divided evenly among power limits."""
    return fmean(e.energy_joules for e in epochs), fmean(e.time_seconds for e in epochs)
