"""GPUs whose limits are unknown, bounded from outside or few, and GPUs that are not the same."""

import pytest

from rheostat.domain.placements import MAX_PLACEMENTS, power_limits
from rheostat.domain.records import PlacementKey
from rheostat.errors import InvalidInput, KeyReused, TooManyPlacements
from rheostat.policy.cost import NOMINAL_POWER_WATTS
from rheostat.policy.interface import Job as PolicyJob
from rheostat.schemas.server import Gpu
from rheostat.schemas.trials import Trial
from tests.domain.examples import V100, ExampleJob, measurements_of, settings

UNLIMITED = Gpu(model="V100")
CAPPED = V100.model_copy(update={"enforced_limit_watts": 160})


def _view(job: ExampleJob, gpu: Gpu) -> PolicyJob:
    placement = job.value.find(gpu)
    assert placement is not None
    return job.value.view(placement, gpu)


def _measure_all(job: ExampleJob, trial: Trial, gpu: Gpu) -> int | None:
    """Measure what is asked for, each limit at a lower cost than the one above, and return the best limit."""
    best, left = trial.power_limit_watts, trial.profile_power_limits_watts
    while left:
        measured = measurements_of(**{f"w{left[0]}": 100.0 + left[0]})
        answer = job.measured(trial.batch_size, gpu, measured)
        assert left[0] not in answer.profile_power_limits_watts
        best, left = answer.power_limit_watts, answer.profile_power_limits_watts
    return best


@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
def test_a_gpu_that_cannot_be_limited_gets_a_batch_size_and_no_limits(policy: str) -> None:
    job = ExampleJob(policy=policy, max_slowdown=1.1)
    trial = job.predict(UNLIMITED)
    assert (trial.batch_size, trial.power_limit_watts, trial.profile_power_limits_watts) == (32, None, [])
    answer = job.report(trial, 1, metric=0.95, energy_joules=100.0, time_seconds=1.0)
    assert (answer.state, answer.power_limit_watts) == ("converged", None)
    assert job.power_limit(gpu=UNLIMITED) == job.power_limit(gpu=Gpu(model="new"))
    assert job.power_limit(gpu=UNLIMITED).profile_power_limits_watts == []
    assert "no limit can be set here" in job.savings().energy_joules.method
    assert job.detail.placements[0].gpu == UNLIMITED


def test_time_on_a_gpu_of_unknown_maximum_is_priced_by_its_enforced_limit_or_a_nominal_one() -> None:
    job = ExampleJob()
    job.predict(UNLIMITED)
    job.predict(Gpu(model="H200", count=2, enforced_limit_watts=700))
    assert _view(job, UNLIMITED).max_power_watts == NOMINAL_POWER_WATTS
    assert _view(job, Gpu(model="H200", count=2)).max_power_watts == 2 * 700.0


@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
def test_limits_that_become_known_later_price_the_past_of_the_placement_anew(policy: str) -> None:
    job = ExampleJob(policy=policy)
    for joules in (100.0, 110.0, 120.0):
        job.converge(job.predict(UNLIMITED), joules)
    trial = job.predict(V100)
    assert len(job.value.placements) == 1
    assert trial.profile_power_limits_watts[0] == 250
    assert _view(job, V100).max_power_watts == 250.0
    before = job.value.states
    job.rebuild()
    assert job.value.states == before
    job.predict(UNLIMITED)
    assert _view(job, V100).power_limits_watts[0] == 250


def test_measurements_of_a_gpu_without_a_range_are_refused() -> None:
    job = ExampleJob()
    with pytest.raises(InvalidInput, match="range") as refused:
        job.measured(32, UNLIMITED, measurements_of(w200=1.0))
    assert refused.value.fields[0].field == "gpu.max_power_limit_watts"


def test_limits_above_what_is_enforced_from_outside_are_not_offered() -> None:
    job = ExampleJob()
    assert job.predict(CAPPED).profile_power_limits_watts == [150, 125, 100]
    assert job.predict(V100).profile_power_limits_watts[0] == 250
    assert job.power_limit(gpu=CAPPED).profile_power_limits_watts == [150, 125, 100]


def test_a_best_limit_above_the_cap_of_a_trials_node_is_not_offered_to_it() -> None:
    job = ExampleJob(power_limits_watts=[100, 250], eta_knob=1.0)
    trial = job.predict(CAPPED)
    assert trial.power_limit_watts == 100
    job.measure(trial.batch_size, w250=90.0, w100=100.0)
    assert job.report(trial, 1, metric=0.1).power_limit_watts == 100
    assert job.power_limit(trial.batch_size).power_limit_watts == 250


def test_a_cap_under_all_limits_of_a_job_or_under_the_range_leaves_none() -> None:
    high = settings(power_limits_watts=[200, 250])
    assert power_limits(high, CAPPED) == ()
    assert power_limits(settings(), V100.model_copy(update={"enforced_limit_watts": 90})) == ()
    job = ExampleJob(power_limits_watts=[200, 250])
    assert job.predict(CAPPED).profile_power_limits_watts == []


def test_a_cap_between_two_wide_steps_is_itself_the_limit() -> None:
    assert power_limits(settings(power_limit_step_watts=200), CAPPED) == (160,)


@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
@pytest.mark.parametrize("max_slowdown", [None, 1.2])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_to_three_limits_end_in_a_best_one(policy: str, max_slowdown: float | None, count: int) -> None:
    limits = [100, 125, 150, 200, 225, 250]
    few = ExampleJob(policy=policy, max_slowdown=max_slowdown, power_limits_watts=limits[:count])
    assert _measure_all(few, few.predict(), V100) == 100
    capped = V100.model_copy(update={"enforced_limit_watts": limits[count - 1]})
    job = ExampleJob(policy=policy, max_slowdown=max_slowdown, power_limits_watts=limits)
    assert _measure_all(job, job.predict(capped), capped) == 100
    assert _measure_all(job, job.predict(capped), capped) == 100


@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
def test_a_single_limit_is_the_best_without_measuring(policy: str) -> None:
    job = ExampleJob(policy=policy)
    fixed = Gpu(model="fixed", min_power_limit_watts=200, max_power_limit_watts=200)
    assert job.power_limit(gpu=fixed).power_limit_watts == 200
    trial = job.predict(fixed)
    assert (trial.power_limit_watts, trial.profile_power_limits_watts) == (200, [])
    assert job.power_limit(gpu=fixed).power_limit_watts == 200


def test_power_of_a_module_or_under_a_profile_is_of_another_placement() -> None:
    job = ExampleJob(policy="rheostat")
    module = V100.model_copy(update={"power_scope": "module"})
    profile = V100.model_copy(update={"power_profile": "Max-Q"})
    for gpu in (V100, module, profile):
        job.converge(job.predict(gpu), 100.0)
        job.measure(32, gpu, w250=100.0)
    assert list(job.value.placements) == [
        PlacementKey("V100", 1),
        PlacementKey("V100", 1, "module"),
        PlacementKey("V100", 1, "", "Max-Q"),
    ]
    assert [len(parts) for parts in job.value.states.values()] == [6, 6, 6]
    assert [placement.gpu for placement in job.detail.placements] == [V100, module, profile]


def test_power_of_the_gpu_itself_is_the_same_as_of_unknown_scope() -> None:
    job = ExampleJob()
    job.predict(V100)
    job.predict(V100.model_copy(update={"power_scope": "gpu"}))
    assert len(job.value.placements) == 1


def test_a_trial_keeps_what_its_node_told_of_its_gpus() -> None:
    job = ExampleJob()
    job.predict(V100)
    gpu = CAPPED.model_copy(update={"power_scope": "gpu"})
    assert job.show(job.predict(gpu)).gpu == gpu


def test_a_key_of_a_trial_on_a_module_is_not_one_of_a_trial_on_the_gpu() -> None:
    job = ExampleJob()
    job.predict(V100, key="run-1")
    with pytest.raises(KeyReused):
        job.predict(V100.model_copy(update={"power_scope": "module"}), key="run-1")


def test_a_job_runs_on_so_many_kinds_of_gpus_and_those_go_on() -> None:
    job = ExampleJob()
    kinds = [V100.model_copy(update={"count": count}) for count in range(1, MAX_PLACEMENTS + 2)]
    for gpu in kinds[:-1]:
        job.predict(gpu)
    with pytest.raises(TooManyPlacements, match="another id") as refused:
        job.predict(kinds[-1])
    assert refused.value.fields[0].field == "gpu"
    with pytest.raises(TooManyPlacements):
        job.import_run(32, kinds[-1], cost=1.0)
    assert len(job.detail.placements) == MAX_PLACEMENTS
    assert job.converge(job.predict(kinds[0]), 100.0).state == "converged"
