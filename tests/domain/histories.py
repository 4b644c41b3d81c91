"""Histories of jobs: whatever trainers and operators may do, step by step, for tests of what must hold after any."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Literal

from hypothesis import strategies as st

from rheostat.domain import orders
from rheostat.errors import Conflict, NoBatchSizeLeft
from rheostat.schemas.control import OrderRequest, PauseRequest
from rheostat.schemas.server import Gpu
from rheostat.schemas.trials import Trial
from tests.domain.examples import A40, LEASE, V100, ExampleJob

Step = tuple[str, Gpu, float]
"""Something that happens, on which GPU, and a figure that is reported; above 100 it may mean another thing."""

_ENOUGH = 100.0
_METRICS = (0.3, 0.5, 0.7, 0.92)


def take(job: ExampleJob, step: Step) -> None:
    """Take one step, unless no batch size is left for it, or the one that is ordered is known not to fit."""
    kind, gpu, figure = step
    job.clock.turn(timedelta(seconds=1))
    with suppress(NoBatchSizeLeft, Conflict):
        _DO[kind](job, gpu, figure)


def _train(
    job: ExampleJob, trial: Trial, first: int, joules: float, *, last: int = 4, before: int = 0, **more: Any
) -> None:
    """Report the epochs from a first to a last one, after others that were run before; each takes a second."""
    for ran, epoch in enumerate(range(first, last + 1), start=before + 1):
        metric = _METRICS[max(epoch - 1, 0)]
        figures = {"metric": metric, "energy_joules": joules * ran, "time_seconds": float(ran)}
        if job.report(trial, epoch, **figures, **more).action == "stop":
            return


def _slowly(job: ExampleJob, gpu: Gpu, joules: float) -> None:
    _train(job, job.predict(gpu), 1, joules)


def _set_up(job: ExampleJob, gpu: Gpu, joules: float) -> None:
    _train(job, job.predict(gpu), 1, joules, setup_seconds=0.5, setup_joules=joules / 2)


def _from_0(job: ExampleJob, gpu: Gpu, joules: float) -> None:
    _train(job, job.predict(gpu), 0, joules)


def _part(job: ExampleJob, gpu: Gpu, joules: float) -> None:
    _train(job, job.predict(gpu, started_at_epoch=2.0), 3, joules)


def _converge(job: ExampleJob, gpu: Gpu, joules: float) -> None:
    job.converge(job.predict(gpu), joules)


def _late(job: ExampleJob, gpu: Gpu, joules: float) -> None:
    trial = job.predict(gpu)
    job.converge(trial, joules)
    job.report(trial, 2, energy_joules=2 * joules, time_seconds=joules)


def _stop(job: ExampleJob, gpu: Gpu, joules: float) -> None:
    job.report(job.predict(gpu), 1, metric=0.1, energy_joules=joules, time_seconds=joules)


def _end(outcome: str, job: ExampleJob, gpu: Gpu, joules: float) -> None:
    job.report(job.predict(gpu), 1, energy_joules=joules, outcome=outcome)


def _crash(job: ExampleJob, gpu: Gpu, joules: float) -> None:
    job.report(job.predict(gpu), 0, energy_joules=joules, time_seconds=1.0, outcome="cancelled")


def _lost(job: ExampleJob, gpu: Gpu, joules: float) -> None:
    """Hear nothing of a trial until its lease has expired, and the next begins; then perhaps it trains after all."""
    trial = job.predict(gpu)
    job.clock.turn(2 * LEASE)
    job.predict(gpu)
    if joules > _ENOUGH:
        _train(job, trial, 1, joules)


def _resume(job: ExampleJob, gpu: Gpu, joules: float) -> None:
    trial = job.predict(gpu)
    _train(job, trial, 1, joules, last=2)
    _train(job, job.predict(gpu, resumes=trial.trial_id), 3, joules, before=2)


def _restart(job: ExampleJob, gpu: Gpu, joules: float) -> None:
    key = f"run-{job.value.next_trial_number}"
    trial = job.predict(gpu, key)
    _train(job, trial, 1, joules, last=2)
    if job.show(trial).state == "running":
        _train(job, job.predict(gpu, key), 2, joules, before=2)


def _run(job: ExampleJob, gpu: Gpu, joules: float) -> None:
    job.import_run(64, gpu, energy_joules=joules, converged=joules > _ENOUGH)


def _history(job: ExampleJob, gpu: Gpu, joules: float) -> None:
    curve = [[1.0, 0.4], [2.0, 0.7], [3.0, 0.92]]
    job.import_run(16, gpu, energy_joules=joules, time_seconds=3.0, epochs=3.0, curve=curve)


def _measure(job: ExampleJob, gpu: Gpu, joules: float) -> None:
    job.measure(16, gpu, w100=joules)


def _no_room(job: ExampleJob, gpu: Gpu, figure: float) -> None:
    job.out_of_memory(128 if figure > _ENOUGH else 8, gpu)


def _order(kind: Literal["pin", "force"], job: ExampleJob, gpu: Gpu, figure: float) -> None:
    request = OrderRequest(batch_size=16 if figure > _ENOUGH else 64)
    job.change(lambda value, _: orders.order(value, kind, request, job.clock()))


def _pause(job: ExampleJob, gpu: Gpu, figure: float) -> None:
    job.change(lambda value, _: orders.pause(value, PauseRequest(), job.clock()))


def _withdraw(job: ExampleJob, gpu: Gpu, figure: float) -> None:
    job.change(lambda value, _: orders.withdraw(value, "pin", job.clock()))
    job.change(lambda value, _: orders.withdraw(value, "pause", job.clock()))


def _target(job: ExampleJob, gpu: Gpu, figure: float) -> None:
    value = 0.9 if figure > _ENOUGH else 0.65
    job.update(target={"metric": "accuracy", "value": value, "direction": "maximize"})


def _epochs(job: ExampleJob, gpu: Gpu, figure: float) -> None:
    job.update(max_epochs=10 if figure > _ENOUGH else 3)


_DO: Mapping[str, Callable[[ExampleJob, Gpu, float], None]] = {
    "converge": _converge,
    "slowly": _slowly,
    "late": _late,
    "fail": partial(_end, "failed"),
    "oom": partial(_end, "oom"),
    "cancel": partial(_end, "cancelled"),
    "stop": _stop,
    "set up": _set_up,
    "from 0": _from_0,
    "part": _part,
    "crash": _crash,
    "lost": _lost,
    "resume": _resume,
    "restart": _restart,
    "run": _run,
    "history": _history,
    "measure": _measure,
    "no room": _no_room,
    "pin": partial(_order, "pin"),
    "force": partial(_order, "force"),
    "pause": _pause,
    "withdraw": _withdraw,
    "target": _target,
    "epochs": _epochs,
}

KINDS = tuple(_DO)
"""All that may happen."""

STEPS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from([V100, A40]), st.floats(1.0, 4000.0)),
    max_size=25,
)
