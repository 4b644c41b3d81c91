"""The parts that train: what watching costs, an agent that is killed in a run, and a recurring job."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from threading import Event, Thread
from time import perf_counter, sleep

from benchmarks.gpu.context import Context
from benchmarks.gpu.node import CheckedAgent
from benchmarks.gpu.report import Report
from benchmarks.gpu.work import Work
from rheostat import Client, JobSettings
from rheostat.schemas.agent import LeaseRequest

BATCH_SIZES, DEFAULT_BATCH_SIZE = (32, 64, 128), 64
_BLOCKS, _BLOCK_SECONDS = 7, 1.5
_EPOCHS, _EPOCH_SECONDS = 4, 3.0
_MOST_EPOCHS = 100
_AWAY_SECONDS, _BACK_SECONDS = 2.0, 2.0
# Shorter than this, an epoch is not judged: one answer of the server is more than a hundredth of it.
_SHORTEST_EPOCH_SECONDS = 2.0
_SLOWER, _INEXACT = 1.01, 0.02


@dataclass(frozen=True, slots=True)
class _Run:
    """A run through the SDK.

    Attributes:
        work: What was trained, to go on with.
        steps: Steps of an epoch.
        epochs_seconds: How long each epoch took, evaluation and report included.
        joules: Energy as the SDK says; None when unknown.
        counted_joules: Energy by the counter, as this process reads it.
    """

    work: Work
    batch_size: int
    steps: int
    epochs_seconds: Sequence[float]
    joules: float | None
    counted_joules: float


def watching(context: Context) -> None:
    """Compare steps while the agent measures with steps while it does not."""
    agent, report, scale = context.agent.client, context.report, context.scale
    work = context.make(DEFAULT_BATCH_SIZE)
    steps = _steps_in(work, _BLOCK_SECONDS * scale)
    free, watched = list[float](), list[float]()
    for _ in range(_BLOCKS):
        free.append(_train(work, steps))
        lease = agent.lease(LeaseRequest(gpus=[context.gpu.uuid], job_id="check-gpu"))
        sleep(0.3)
        watched.append(_train(work, steps))
        agent.end_lease(lease.lease_id)
        sleep(0.3)
    ratio = median(watched) / median(free)
    per_step = [median(blocks) / steps * 1e3 for blocks in (free, watched)]
    report.fact("step", f"{per_step[0]:.3f} ms, {per_step[1]:.3f} ms while watched")
    passed = ratio <= _SLOWER if scale == 1 else None
    report.check("step while watched", f"{ratio:.4f} of one that is not", f"at most {_SLOWER}", passed=passed)


def restart(context: Context) -> None:
    """Kill the agent in the middle of a run and start it again: the run's energy must be whole."""
    with _restarted(context.agent, after_seconds=1.5 * _EPOCH_SECONDS * context.scale) as is_back:
        run = _run(context, "check-gpu-restart", _MOST_EPOCHS, lambda epochs: epochs > 1 and is_back.is_set())
    _check_energy(context.report, "a run in which the agent is killed", [run])


def recurring(context: Context) -> None:
    """Train a recurring job through the SDK; after each run train the same without it."""
    report, done, ratios = context.report, list[_Run](), list[float]()
    for _ in range(context.runs):
        run = _run(context, "check-gpu", _EPOCHS)
        alone = [_train(run.work, run.steps, evaluates=True) for _ in range(_EPOCHS)]
        # The first epoch after a pause is another one.
        ratios.append(median(run.epochs_seconds[1:]) / median(alone[1:]))
        done.append(run)
        known = "unknown" if run.joules is None else f"{run.joules:.1f} J"
        report.fact(
            f"run with batch size {run.batch_size}",
            f"{known}, {run.counted_joules:.1f} J by the counter; epoch {median(run.epochs_seconds):.3f} s, "
            f"{ratios[-1]:.4f} of one without Rheostat",
        )
    _check_energy(report, "recurring runs", done)
    passed = median(ratios) <= _SLOWER if _EPOCH_SECONDS * context.scale >= _SHORTEST_EPOCH_SECONDS else None
    report.check("epoch with Rheostat", f"{median(ratios):.4f} of one without", f"at most {_SLOWER}", passed=passed)


def _check_energy(report: Report, what: str, runs: Sequence[_Run]) -> None:
    known = [(run.joules, run.counted_joules) for run in runs if run.joules is not None]
    report.check(f"energy of {what}, known", f"{len(known)} of {len(runs)}", "all", passed=len(known) == len(runs))
    if known:
        error = max(abs(joules / counted - 1) if counted else 0.0 for joules, counted in known)
        report.check(f"energy of {what}, error", f"{error:.2%}", f"at most {_INEXACT:.0%}", passed=error <= _INEXACT)


@contextmanager
def _restarted(agent: CheckedAgent, after_seconds: float) -> Iterator[Event]:
    """Kill the agent after some time and start it again; yields what is set when it has been back for a while."""
    is_back = Event()

    def kill_and_start() -> None:
        sleep(after_seconds)
        agent.kill()
        sleep(_AWAY_SECONDS)
        agent.start()
        sleep(_BACK_SECONDS)
        is_back.set()

    thread = Thread(target=kill_and_start, name="check-gpu-restart")
    thread.start()
    try:
        yield is_back
    finally:
        thread.join()


def _run(context: Context, job_id: str, epochs: int, is_over: Callable[[int], bool] = lambda _: False) -> _Run:
    """Train through the SDK to the last epoch, or until it is over after one."""
    settings = JobSettings(
        batch_sizes=list(BATCH_SIZES), default_batch_size=DEFAULT_BATCH_SIZE, max_epochs=epochs, beta_knob=None
    )
    gpu = context.gpu
    with Client(context.url) as client, client.trial(job_id, settings) as trial:
        work = context.make(trial.batch_size)
        steps = _steps_in(work, _EPOCH_SECONDS * context.scale)
        counted, before = gpu.joules_at_tick(), trial.energy_joules()
        seconds, action = list[float](), "continue"
        while action == "continue" and not is_over(len(seconds)):
            begun = perf_counter()
            for _ in trial.steps(range(steps)):
                work.step()
            work.finish()
            action = trial.report(work.evaluate())
            seconds.append(perf_counter() - begun)
        counted, after = gpu.joules_at_tick() - counted, trial.energy_joules()
        joules = None if before is None or after is None else after - before
        return _Run(work, trial.batch_size, steps, seconds, joules, counted)


def _steps_in(work: Work, seconds: float) -> int:
    """Return how many steps take so long, after some to warm up."""
    _train(work, 5)
    steps = 5
    while (took := _train(work, steps)) < seconds / 4:
        steps *= 2
    return max(1, round(steps * seconds / took))


def _train(work: Work, steps: int, *, evaluates: bool = False) -> float:
    """Return how many seconds some steps take."""
    begun = perf_counter()
    for _ in range(steps):
        work.step()
    work.finish()
    if evaluates:
        work.evaluate()
    return perf_counter() - begun
