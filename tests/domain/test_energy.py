"""Energy that reports leave out: what it is estimated from, what is said of it, and what replaces it."""

import pytest

from rheostat.domain.energy import sums_of
from rheostat.domain.records import PlacementKey
from rheostat.errors import InvalidInput
from rheostat.schemas.server import Gpu
from rheostat.schemas.trials import Trial
from tests.domain.examples import A40, V100, ExampleJob

ON_V100 = PlacementKey("V100", 1)


def _converged(job: ExampleJob, joules: float, seconds: float, gpu: Gpu = V100) -> Trial:
    trial = job.predict(gpu)
    job.report(trial, 1, metric=0.95, energy_joules=joules, time_seconds=seconds)
    return trial


def _sums(job: ExampleJob) -> dict[str, list[float]]:
    return dict(job.value.states[ON_V100]["energy"])


def test_a_report_without_energy_counts_at_the_mean_power_of_the_batch_size() -> None:
    job = ExampleJob(batch_sizes=[32], beta_knob=None)
    _converged(job, 100.0, 1.0)
    _converged(job, 500.0, 3.0)
    trial = job.predict()
    job.report(trial, 1, metric=0.1, energy_joules=10.0, time_seconds=1.0)
    job.report(trial, 2, metric=0.2, time_seconds=3.0)
    shown = job.show(trial)
    assert shown.energy_joules == 10.0 + 2.0 * 150.0
    assert shown.energy_is_estimated
    assert shown.energy_estimate == "estimated: 2 s of 3 s at 150 W, the mean of 2 runs at batch size 32"


def test_a_batch_size_that_was_not_metered_yet_counts_at_the_trials_own_mean() -> None:
    job = ExampleJob(batch_sizes=[16, 32])
    _converged(job, 200.0, 1.0)
    trial = job.predict()
    assert trial.batch_size == 16
    job.report(trial, 1, metric=0.1, energy_joules=50.0, time_seconds=1.0)
    job.report(trial, 2, metric=0.2, time_seconds=4.0)
    shown = job.show(trial)
    assert shown.energy_joules == 200.0
    assert shown.energy_estimate == "estimated: 3 s of 4 s at 50 W, its own mean"


def test_a_trial_of_which_nothing_was_metered_counts_at_the_mean_power_of_its_placement() -> None:
    job = ExampleJob(batch_sizes=[16, 32], eta_knob=1.0)
    _converged(job, 200.0, 1.0)
    trial = job.predict()
    job.report(trial, 1, metric=0.1, time_seconds=1.5)
    shown = job.show(trial)
    assert (shown.energy_joules, shown.cost, shown.energy_is_estimated) == (300.0, 300.0, True)
    assert shown.energy_estimate == "estimated: 1.5 s of 1.5 s at 200 W, the mean of 1 run on these GPUs"


def test_where_nothing_was_ever_metered_the_cost_counts_maximum_power_and_says_so() -> None:
    job = ExampleJob()
    _converged(job, 200.0, 1.0, A40)
    trial = job.predict()
    job.report(trial, 1, metric=0.1, time_seconds=2.0)
    shown = job.show(trial)
    assert (shown.energy_joules, shown.cost, shown.energy_is_estimated) == (None, 500.0, True)
    assert shown.energy_estimate == "unknown: the cost counts maximum power, 250 W"


def test_a_trial_that_was_metered_throughout_is_not_estimated() -> None:
    job = ExampleJob()
    trial = job.predict()
    assert not job.show(trial).energy_is_estimated
    job.report(trial, 1, metric=0.1, energy_joules=100.0, time_seconds=1.0)
    job.report(trial, 1, outcome="failed")
    shown = job.show(trial)
    assert (shown.energy_joules, shown.energy_is_estimated, shown.energy_estimate) == (100.0, False, None)


def test_a_later_figure_replaces_the_estimate_even_where_it_is_less() -> None:
    job = ExampleJob(batch_sizes=[32], beta_knob=None)
    _converged(job, 200.0, 1.0)
    trial = job.predict()
    job.report(trial, 1, metric=0.1, energy_joules=100.0, time_seconds=1.0)
    job.report(trial, 2, metric=0.2, time_seconds=2.0)
    assert job.show(trial).energy_joules == 300.0
    with pytest.raises(InvalidInput):
        job.report(trial, 3, metric=0.3, energy_joules=99.0, time_seconds=2.1)
    job.report(trial, 3, metric=0.3, energy_joules=220.0, time_seconds=2.1)
    shown = job.show(trial)
    assert (shown.energy_joules, shown.energy_is_estimated, shown.energy_estimate) == (220.0, False, None)


def test_a_total_that_stood_still_while_time_went_on_is_not_taken_for_a_new_one() -> None:
    """As a run on an H200 ended: 8,584 J two epochs before its end and at its end, where 12,025 J were used."""
    job = ExampleJob(batch_sizes=[32], beta_knob=None)
    trial = job.predict()
    for epoch in (1, 2, 3, 4, 5):
        joules = min(1700.0 * epoch, 5100.0)
        job.report(trial, epoch, metric=0.1 if epoch < 5 else 0.95, energy_joules=joules, time_seconds=3.2 * epoch)
    shown = job.show(trial)
    assert shown.state == "converged"
    assert shown.energy_joules == pytest.approx(5 * 1700.0)
    assert shown.energy_is_estimated
    assert _sums(job) == {"32": [5100.0, pytest.approx(9.6), 1, 1]}


def test_a_total_of_nothing_may_stand_still() -> None:
    job = ExampleJob()
    trial = job.predict()
    for epoch in (1, 2):
        job.report(trial, epoch, metric=0.1, energy_joules=0.0, time_seconds=float(epoch))
    assert (job.show(trial).energy_joules, job.show(trial).energy_is_estimated) == (0.0, False)


def test_what_ran_before_the_energy_was_known_counts_at_the_mean_of_what_ran_after() -> None:
    job = ExampleJob(batch_sizes=[32], beta_knob=None)
    _converged(job, 500.0, 1.0)
    trial = job.predict()
    late = {"energy_known_from_seconds": 2.0}
    job.report(trial, 1, metric=0.1, energy_joules=300.0, time_seconds=5.0, **late)
    shown = job.show(trial)
    assert shown.energy_joules == 500.0
    assert shown.energy_estimate == "estimated: 2 s of 5 s at 100 W, its own mean"
    job.report(trial, 2, metric=0.95, energy_joules=400.0, time_seconds=6.0, **late)
    assert job.show(trial).energy_joules == 600.0
    assert _sums(job) == {"32": [900.0, 5.0, 2, 1]}


def test_a_count_that_began_anew_may_be_less_than_the_one_before() -> None:
    job = ExampleJob()
    trial = job.predict()
    job.report(trial, 1, metric=0.1, energy_joules=500.0, time_seconds=5.0)
    job.report(trial, 2, metric=0.1, energy_joules=100.0, time_seconds=10.0, energy_known_from_seconds=9.0)
    assert job.show(trial).energy_joules == 1000.0
    with pytest.raises(InvalidInput):
        job.report(trial, 3, metric=0.1, energy_joules=99.0, time_seconds=11.0, energy_known_from_seconds=9.0)


def test_energy_that_is_known_from_the_end_on_only_is_estimated_like_unknown_energy() -> None:
    job = ExampleJob(batch_sizes=[32], beta_knob=None)
    _converged(job, 200.0, 1.0)
    trial = job.predict()
    job.report(trial, 1, metric=0.1, energy_joules=0.0, time_seconds=3.0, energy_known_from_seconds=3.0)
    assert job.show(trial).energy_joules == 600.0
    job.report(trial, 2, metric=0.1, energy_joules=0.0, time_seconds=4.0, energy_known_from_seconds=9.0)
    assert job.show(trial).energy_joules == 800.0


def test_a_run_is_stopped_for_what_it_is_expected_to_have_used_and_the_reason_says_so() -> None:
    """At maximum power 1.5 s of it would have cost more than the bound of 200 J."""
    job = ExampleJob(batch_sizes=[32], eta_knob=1.0)
    _converged(job, 100.0, 1.0)
    trial = job.predict()
    assert job.report(trial, 1, metric=0.1, time_seconds=0.9).action == "continue"
    answer = job.report(trial, 2, metric=0.1, time_seconds=1.9)
    assert answer.action == "stop"
    assert answer.reason.endswith("energy estimated: 1.9 s of 1.9 s at 100 W, the mean of 1 run at batch size 32)")


H200 = Gpu(model="H200", min_power_limit_watts=200, max_power_limit_watts=700)
EPOCHS_SECONDS_JOULES = {64: (5, 3.17, 1691.0), 128: (6, 2.71, 1651.0)}
"""A byte-level language model of 10 M parameters on an H200: epochs to the target, and what an epoch took."""


def test_a_batch_size_that_is_nearly_as_good_is_not_stopped_for_want_of_its_energy() -> None:
    """At maximum power, 128 was stopped after one epoch; it costs 9 % more than the best."""
    job = ExampleJob(
        policy="rheostat",
        batch_sizes=[64, 128],
        default_batch_size=64,
        max_epochs=20,
        target={"metric": "bpb", "value": 1.2, "direction": "minimize"},
        power_limits_watts=[700],
    )
    ends = {}
    for number in range(3):
        trial = job.predict(H200, max_batch_size=128)
        epochs, seconds, joules = EPOCHS_SECONDS_JOULES[trial.batch_size]
        for epoch in range(1, 21):
            figures = {"metric": 1.2 + 0.3 * (epochs - epoch) / epochs, "time_seconds": seconds * epoch}
            if number == 0:
                figures["energy_joules"] = joules * epoch
            answer = job.report(trial, epoch, **figures)
            if answer.action == "stop":
                break
        ends[trial.batch_size] = answer.state
    assert (ends[64], ends[128]) == ("converged", "converged")


@pytest.mark.parametrize("policy", ["zeus", "rheostat"])
def test_a_rebuild_finds_the_same_estimates(policy: str) -> None:
    job = ExampleJob(policy=policy)
    for at in range(12):
        trial = job.predict(A40 if at % 3 == 0 else V100)
        for epoch in (1, 2, 3):
            figures = {"time_seconds": 1.1 * epoch}
            if at % 4 != 1 and (at % 4 != 2 or epoch == 1):
                figures["energy_joules"] = (90.0 + at) * epoch
            if job.report(trial, epoch, metric=0.32 * epoch, **figures).action == "stop":
                break
    before = job.value.states
    job.rebuild()
    assert job.value.states == before
    assert any(arm.energy_is_estimated for arm in job.arms(1).values())


def test_a_whole_run_without_energy_costs_what_the_mean_power_before_it_makes_of_its_time() -> None:
    job = ExampleJob(eta_knob=1.0)
    assert job.import_run(32, time_seconds=2.0) == 2.0 * 250.0
    job.import_run(16, energy_joules=50.0, time_seconds=1.0)
    assert job.import_run(32, time_seconds=2.0, key="run-1") == 2.0 * 50.0
    job.import_run(32, energy_joules=100.0, time_seconds=1.0)
    assert job.import_run(32, time_seconds=2.0) == 2.0 * 100.0
    before = job.value.states
    job.rebuild()
    assert job.value.states == before
    assert job.arms()[32].cost == (500.0 + 100.0 + 100.0 + 200.0) / 4


def test_the_sums_do_not_grow_with_the_runs() -> None:
    job = ExampleJob(batch_sizes=[32], beta_knob=None)
    for _ in range(50):
        _converged(job, 100.0, 1.0)
    assert _sums(job) == {"32": [5000.0, 50.0, 50, 0]}


def test_estimates_say_how_many_runs_of_an_arm_are_estimated() -> None:
    job = ExampleJob(batch_sizes=[16, 32])
    assert job.predict().batch_size == 32
    job.import_run(32, time_seconds=1.0)
    job.import_run(32, energy_joules=1.0, time_seconds=1.0)
    job.import_run(16, cost=1.0)
    arms = job.arms()
    assert (arms[32].estimated_energy_runs, arms[32].energy_is_estimated) == (1, True)
    assert (arms[16].estimated_energy_runs, arms[16].energy_is_estimated) == (0, False)


def test_the_sums_are_the_same_in_whatever_order_the_batch_sizes_came() -> None:
    state = {"8": [0.1, 0.1, 1, 0], "16": [0.2, 0.2, 1, 0], "32": [0.3, 0.3, 1, 0]}
    assert sums_of(state) == sums_of(dict(reversed(state.items())))
