"""A whole replay: every world under every seed, in process or through a server."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from secrets import token_hex

from pydantic import ValidationError

from rheostat.errors import InvalidInput
from rheostat.replay.backend import Backend, InProcess, Server
from rheostat.replay.simulator import TrialRecord, replay_job
from rheostat.replay.world import World
from rheostat.schemas.server import Gpu, JobSettings, Target
from rheostat.sdk.client import Client

RETRY_FOR_SECONDS = 60.0
"""A server that is killed and started again meanwhile does not end a replay."""

_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """How to replay.

    Attributes:
        policy: Name of the policy that decides.
        eta_knob: Weight of energy against time in the cost, 0 to 1.
        beta_knob: A run is stopped when its cost passes this multiple of the lowest; None: never.
        recurrences: How often each job recurs.
        seeds: Each world is replayed once with each.
        concurrency: So many recurrences are launched together.
        server: Address of a server that decides; None: this process.
        job_id: Name of the one job on the server; None: made up.
        survey: Whether each job measures before its first run what the policy asks for.
    """

    policy: str
    eta_knob: float
    beta_knob: float | None
    recurrences: int
    seeds: tuple[int, ...]
    concurrency: int = 1
    server: str | None = None
    job_id: str | None = None
    survey: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """One world replayed with one seed.

    Attributes:
        world: Where.
        seed: With which seed.
        job_id: Name of the job on the server; None in process.
        trials: What happened, recurrence by recurrence.
    """

    world: World
    seed: int
    job_id: str | None
    trials: tuple[TrialRecord, ...]


def replay_worlds(
    worlds: Sequence[World], plan: Plan, on_recurrence: Callable[[], None] = lambda: None
) -> Iterator[Outcome]:
    """Replay every world with every seed, one after the other.

    Raises:
        InvalidInput: The plan cannot be carried out.
        PolicyFailed: The policy raised, or a recurrence did not converge.
        ServerUnreachable: The server gave no answer for a minute.
        ServerRefused: The server answered with an error.
    """
    if plan.job_id is not None and len(worlds) * len(plan.seeds) > 1:
        raise InvalidInput(
            f"--job-id names one job, and this replay makes {len(worlds) * len(plan.seeds)}.",
            hint="Leave it out, or replay one dataset on one GPU with --seeds 1.",
        )
    suffix = token_hex(4)
    with ExitStack() as stack:
        client = None
        if plan.server is not None:
            client = stack.enter_context(Client(plan.server, retry_for_seconds=RETRY_FOR_SECONDS))
        for world in worlds:
            for seed in plan.seeds:
                job_id = None if client is None else plan.job_id or made_up_job_id(world, seed, suffix)
                trials = replay_job(
                    world,
                    _backend(world, plan, seed, client, job_id),
                    seed=seed,
                    recurrences=plan.recurrences,
                    concurrency=plan.concurrency,
                    survey=plan.survey,
                    on_recurrence=on_recurrence,
                )
                yield Outcome(world, seed, job_id, trials)


def made_up_job_id(world: World, seed: int, suffix: str) -> str:
    """Return a job id that says what is replayed, with a suffix that no other replay has."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", f"replay-{world.workload.dataset}-{world.gpu_model}")
    return f"{name[:_LONGEST_NAME]}-{seed}-{suffix}"[:128]


def _backend(world: World, plan: Plan, seed: int, client: Client | None, job_id: str | None) -> Backend:
    settings, gpu = job_of(world, plan, seed)
    if client is None or job_id is None:
        return InProcess(settings, gpu)
    return Server(client, job_id, settings, gpu)


def job_of(world: World, plan: Plan, seed: int) -> tuple[JobSettings, Gpu]:
    """Return what a world's job is registered with, and what it runs on.

    Raises:
        InvalidInput: The world makes no job that the server would take.
    """
    try:
        settings = JobSettings(
            batch_sizes=list(world.batch_sizes),
            default_batch_size=world.default_batch_size,
            eta_knob=plan.eta_knob,
            beta_knob=plan.beta_knob,
            target=Target(
                metric=world.target.metric,
                value=world.target.value,
                direction="maximize" if world.target.maximize else "minimize",
            ),
            max_epochs=world.max_epochs,
            power_limits_watts=list(world.power_limits_watts),
            policy=plan.policy,
            seed=seed,
        )
        gpu = Gpu(
            model=world.gpu_model,
            count=1,
            min_power_limit_watts=world.min_power_limit_watts,
            max_power_limit_watts=world.max_power_limit_watts,
            simulated=True,
        )
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise InvalidInput(f"{world.workload} on {world.gpu_model} makes no job: {faults}.") from error
    return settings, gpu
