"""An operator's control: pinned batch sizes, paused exploring, forced trials."""

from typing import Any

import pytest

from rheostat.domain import orders
from rheostat.domain.orders import Kind
from rheostat.errors import Conflict, InvalidInput, UnknownBatchSize
from rheostat.schemas.control import OrderRequest, PauseRequest
from rheostat.schemas.trials import Trial
from tests.domain.examples import A40, V100, ExampleJob

JOULES = {8: 500.0, 16: 300.0, 32: 200.0, 64: 150.0, 128: 120.0}
policies = pytest.mark.parametrize("policy", ["zeus", "rheostat"])


def pin(job: ExampleJob, batch_size: int, kind: Any = "pin", **order: Any) -> None:
    request = OrderRequest(batch_size=batch_size, **order)
    job.change(lambda value, _: orders.order(value, kind, request, job.clock()))


def pause(job: ExampleJob, reason: str | None = None) -> None:
    job.change(lambda value, _: orders.pause(value, PauseRequest(reason=reason), job.clock()))


def withdraw(job: ExampleJob, kind: Kind) -> None:
    job.change(lambda value, _: orders.withdraw(value, kind, job.clock()))


def recurrences(job: ExampleJob, count: int) -> list[int]:
    return [job.recur(JOULES) for _ in range(count)]


@policies
def test_a_pinned_batch_size_runs_until_it_is_unpinned(policy: str) -> None:
    job = ExampleJob(policy=policy)
    recurrences(job, 3)
    pin(job, 128, reason="the paper's setting")
    assert recurrences(job, 5) == [128] * 5
    assert job.predict().reason == "pinned by an operator: the paper's setting"
    assert job.arms()[128].runs >= 5
    withdraw(job, "pin")
    assert "pinned" not in job.predict().reason
    assert job.detail.control is None


def test_a_pinned_power_limit_holds_in_the_trial_and_in_every_answer() -> None:
    job = ExampleJob(policy="rheostat")
    job.converge(job.predict(), 100.0)
    job.measure(32, w250=100.0, w225=90.0, w200=80.0, w175=70.0, w150=60.0, w125=90.0, w100=100.0)
    assert job.power_limit(32).power_limit_watts == 150
    pin(job, 32, power_limit_watts=200)
    trial = job.predict()
    assert (trial.power_limit_watts, trial.profile_power_limits_watts) == (200, [])
    assert job.power_limit(32).power_limit_watts == 200
    withdraw(job, "pin")
    assert job.report(trial, 1, metric=0.1).power_limit_watts == 200
    assert job.measure(32, w150=50.0).power_limit_watts == 200
    job.report(trial, 2, outcome="cancelled")
    assert job.power_limit(32).power_limit_watts == 150


def test_a_limit_that_this_gpu_does_not_have_leaves_the_policys() -> None:
    job = ExampleJob()
    job.predict(A40)
    pin(job, 32, power_limit_watts=300)
    assert job.predict(A40).power_limit_watts == 300
    trial = job.predict(V100)
    assert (trial.batch_size, trial.power_limit_watts) == (32, None)
    assert "300 W cannot be set on this GPU" in trial.reason


@policies
def test_a_forced_trial_is_one_trial_and_comes_before_a_pin(policy: str) -> None:
    job = ExampleJob(policy=policy)
    pin(job, 16)
    pin(job, 128, kind="force", power_limit_watts=100)
    forced = job.predict(key="night-1")
    assert (forced.batch_size, forced.power_limit_watts) == (128, 100)
    assert forced.reason == "forced for this trial by an operator"
    assert job.predict(key="night-1") == forced
    assert job.predict().batch_size == 16
    pin(job, 128, kind="force")
    withdraw(job, "force")
    assert job.predict().batch_size == 16


@policies
def test_while_paused_the_best_known_batch_size_runs_and_nothing_is_measured(policy: str) -> None:
    job = ExampleJob(policy=policy)
    pause(job, "conference week")
    first = job.predict()
    assert (first.batch_size, first.profile_power_limits_watts) == (32, [])
    assert first.reason == (
        "the default: nothing has converged yet; exploring is paused by an operator: conference week"
    )
    job.converge(first, JOULES[32])
    withdraw(job, "pause")
    picks = {32, *recurrences(job, 4)}
    pause(job)
    best = max(picks)  # larger ones cost less
    assert recurrences(job, 6) == [best] * 6
    assert policy != "zeus" or "lowest mean cost so far, 210 J-eq" in job.predict().reason
    job.measure(32, w250=100.0, w200=80.0)
    assert job.power_limit(32).model_dump() == {"power_limit_watts": 200, "profile_power_limits_watts": []}


def test_a_paused_job_does_not_run_what_crashes() -> None:
    job = ExampleJob()
    for _ in range(2):
        job.report(job.predict(), 0, outcome="cancelled")
    pause(job)
    assert job.predict().batch_size == 16


@policies
def test_an_ordered_run_is_not_stopped_for_its_cost_but_ends_with_its_epochs(policy: str) -> None:
    job = ExampleJob(policy=policy)
    recurrences(job, 3)
    pin(job, 8)
    trial = job.predict()
    for epoch in range(1, 10):
        assert (
            job.report(trial, epoch, metric=0.1, energy_joules=1e6 * epoch, time_seconds=1e4 * epoch).state == "running"
        )
    assert job.report(trial, 10, metric=0.1, energy_joules=1e7, time_seconds=1e5).state == "failed"


def test_a_pinned_batch_size_that_does_not_fit_falls_back_and_says_so() -> None:
    job = ExampleJob()
    pin(job, 64)
    job.report(job.predict(), 0, outcome="oom")
    trial = job.predict()
    assert trial.batch_size == 32
    assert trial.reason.startswith("64, pinned by an operator, does not fit this GPU; ")
    assert job.predict(A40).batch_size == 64


def test_a_force_waits_for_a_gpu_that_it_fits() -> None:
    job = ExampleJob()
    pin(job, 128, kind="force")
    assert job.predict(max_batch_size=64).batch_size == 32
    assert job.predict().batch_size == 128


@pytest.mark.parametrize("kind", ["pin", "force"])
def test_orders_that_cannot_be_carried_out_are_refused(kind: str) -> None:
    job = ExampleJob()
    job.report(_at(job, 64), 0, outcome="oom")
    with pytest.raises(UnknownBatchSize) as unknown:
        pin(job, 48, kind=kind)
    assert unknown.value.fields[0].field == "batch_size"
    with pytest.raises(Conflict, match="64 ran out of memory") as too_large:
        pin(job, 128, kind=kind)
    assert "smaller" in too_large.value.hint
    with pytest.raises(InvalidInput) as too_much:
        pin(job, 32, kind=kind, power_limit_watts=400)
    assert too_much.value.fields[0].field == "power_limit_watts"
    assert job.detail.control is None


def test_orders_are_shown_and_audited() -> None:
    job = ExampleJob()
    pin(job, 64, reason="why not")
    pause(job)
    pin(job, 8, kind="force")
    for kind in ("pin", "pause", "force", "pin"):
        withdraw(job, kind)  # the last one has nothing left to withdraw
    actions = ["pin_job", "pause_job", "force_job", "unpin_job", "resume_job", "unforce_job"]
    assert [note.action for note in job.audit] == actions
    assert job.audit[0].details == {"batch_size": 64, "power_limit_watts": None, "reason": "why not"}
    pin(job, 64, reason="why not")
    control = job.detail.control
    assert control is not None
    assert control.pin is not None
    assert (control.pin.batch_size, control.pin.reason, control.pin.since) == (64, "why not", job.clock())
    assert (control.pause, control.force) == (None, None)


def _at(job: ExampleJob, batch_size: int) -> Trial:
    pin(job, batch_size, kind="force")
    return job.predict()


def test_an_order_opens_what_only_a_survey_closed_and_a_run_that_shows_it_closes_it_again() -> None:
    job = ExampleJob(policy="rheostat")
    job.out_of_memory(64)
    pin(job, 64, kind="force")
    assert [placement.surveyed_oom_batch_size for placement in job.last_changes.placements] == [None]
    trial = job.predict()
    assert trial.batch_size == 64
    job.report(trial, 0, outcome="oom")
    with pytest.raises(Conflict, match="64 ran out of memory"):
        pin(job, 64, kind="force")
