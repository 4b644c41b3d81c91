"""Figures at the bounds of what is valid: whatever is reported, every answer comes, and is of finite numbers."""

from collections.abc import Callable
from contextlib import suppress
from math import isfinite
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from rheostat.domain import insight
from rheostat.errors import PolicyFailed, RheostatError
from rheostat.schemas.power import PowerLimitMeasurement
from rheostat.schemas.server import Gpu
from tests.domain.examples import ExampleJob

JOULES = st.sampled_from([None, 0.0, 1e-9, 1e-3, 1.0, 250.0, 1e6, 1e15])
SECONDS = st.sampled_from([None, 0.0, 1e-9, 1e-3, 1.0, 3600.0, 1e10])
POSITIVE = st.sampled_from([1e-9, 1e-3, 1.0, 250.0, 1e6, 1e10])
EPOCHS = st.sampled_from([0.0, 1e-6, 0.5, 1.0, 2.0, 3.0, 10.0, 1e6])
METRICS = st.sampled_from([None, -1e300, -1.0, 0.0, 1e-300, 0.5, 0.9, 1.0, 1e300])
RUN_EPOCHS = st.sampled_from([None, 1e-6, 1.0, 1e6])
STEPS = st.sampled_from([1e-3, 1.0, 1e6, 1e12])
GPUS = st.sampled_from(
    [
        Gpu(model="small", min_power_limit_watts=1, max_power_limit_watts=1),
        Gpu(model="wide", count=65_536, min_power_limit_watts=1, max_power_limit_watts=100_000),
        Gpu(model="usual", count=2, min_power_limit_watts=100, max_power_limit_watts=300),
        Gpu(model="unknown"),
    ]
)
SIZES = st.sampled_from([1, 32, 2**31 - 1])

Act = Callable[[ExampleJob], object]


def _report(gpu: Gpu, reports: list[tuple[float, Any, Any, Any]], **more: Any) -> Act:
    def act(job: ExampleJob) -> None:
        trial = job.predict(gpu)
        for epoch, metric, joules, seconds in reports:
            with suppress(RheostatError):
                job.report(trial, epoch, metric=metric, energy_joules=joules, time_seconds=seconds, **more)

    return act


def _run(gpu: Gpu, size: int, **figures: Any) -> Act:
    def act(job: ExampleJob) -> None:
        job.import_run(size, gpu, **figures)

    return act


def _measure(gpu: Gpu, size: int, **figures: float | None) -> Act:
    def act(job: ExampleJob) -> None:
        low, high = gpu.min_power_limit_watts, gpu.max_power_limit_watts
        limits = [None] if low is None or high is None else sorted({low, high})
        measured = [PowerLimitMeasurement.model_validate({"power_limit_watts": limit, **figures}) for limit in limits]
        job.measured(size, gpu, measured)

    return act


ACTS = st.one_of(
    st.builds(_report, GPUS, st.lists(st.tuples(EPOCHS, METRICS, JOULES, SECONDS), min_size=1, max_size=4)),
    st.builds(_run, GPUS, SIZES, cost=POSITIVE, converged=st.sampled_from([None, True, False])),
    st.builds(_run, GPUS, SIZES, energy_joules=POSITIVE, time_seconds=POSITIVE, epochs=RUN_EPOCHS),
    st.builds(
        _measure,
        GPUS,
        SIZES,
        energy_joules=POSITIVE,
        time_seconds=POSITIVE,
        steps=STEPS,
        steps_per_epoch=st.none() | STEPS,
    ),
    st.builds(lambda eta: lambda job: job.update(eta_knob=eta), st.sampled_from([0.0, 0.5, 1.0])),
)
KNOBS = st.fixed_dictionaries(
    {
        "eta_knob": st.sampled_from([0.0, 0.5, 1.0]),
        "beta_knob": st.sampled_from([None, 1.0, 2.0, 1e6]),
        "max_epochs": st.sampled_from([1, 10, 1_000_000]),
        "window_size": st.sampled_from([0, 1]),
        "target": st.sampled_from(
            [
                None,
                {"metric": "accuracy", "value": 0.9, "direction": "maximize"},
                {"metric": "loss", "value": -1e300, "direction": "minimize"},
                {"metric": "loss", "value": 1e-300, "direction": "minimize"},
            ]
        ),
    }
)


def _check_finite(value: object) -> None:
    if isinstance(value, float):
        assert isfinite(value)
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            _check_finite(part)


def _ask(job: ExampleJob, gpu: Gpu) -> None:
    """Ask for all that can be asked; what is not finite cannot be written as JSON."""
    for answer in (insight.estimates(job.value), job.read(insight.savings), job.survey(gpu), job.power_limit(32, gpu)):
        _check_finite(answer.model_dump())


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
@given(knobs=KNOBS, acts=st.lists(ACTS, max_size=12), gpu=GPUS)
def test_extreme_figures_have_finite_answers(policy: str, knobs: dict[str, Any], acts: list[Act], gpu: Gpu) -> None:
    job = ExampleJob(policy=policy, batch_sizes=[1, 32, 2**31 - 1], **knobs)
    for act in acts:
        try:
            act(job)
        except PolicyFailed:
            raise
        except RheostatError:
            pass
        _ask(job, gpu)
    assert not [event for event in job.events if "Failure" in type(event).__name__]
