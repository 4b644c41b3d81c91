"""Making trials: which arm, for whom, and under which lease."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from rheostat import service as use_cases
from rheostat.errors import JobNotFound, KeyReused, NoBatchSizeLeft, NoPowerLimitFits
from rheostat.schemas.server import Gpu
from rheostat.service import Service
from tests.service.examples import A40, JOB, LEASE, V100, Clock, converge, measure, predict, recur, register, report


def test_the_first_trial_runs_the_default_and_says_why(service: Service, clock: Clock) -> None:
    register(service)
    trial = predict(service, node="gpu-7")
    assert (trial.number, trial.batch_size) == (1, 32)
    assert trial.lease_expires_at == clock() + LEASE
    assert "exploration" in trial.reason
    detail = use_cases.get_trial(service, trial.trial_id)
    assert (detail.state, detail.node, detail.gpu) == ("running", "gpu-7", V100)


def test_an_unregistered_job_has_no_trials(service: Service) -> None:
    with pytest.raises(JobNotFound, match="Register it first"):
        predict(service)


def test_trials_that_start_together_learn_about_different_batch_sizes(service: Service) -> None:
    register(service)
    together = [predict(service) for _ in range(5)]
    assert together[0].batch_size == 32
    assert sorted(trial.batch_size for trial in together) == [8, 16, 32, 64, 128]
    assert predict(service).batch_size == 32, "all are taken and nothing is known yet"


def test_a_trial_that_starts_while_all_is_explored_takes_the_cheapest_so_far(service: Service) -> None:
    register(service)
    together = [predict(service) for _ in range(5)]
    converge(service, together[1], 100.0)
    second_round = predict(service)
    assert second_round.batch_size == together[1].batch_size


def test_concurrent_predicts_get_consecutive_numbers(service: Service) -> None:
    register(service)
    with ThreadPoolExecutor(8) as pool:
        trials = list(pool.map(lambda _: predict(service), range(24)))
    assert sorted(trial.number for trial in trials) == list(range(1, 25))


def test_the_same_idempotency_key_gives_the_same_trial(service: Service) -> None:
    register(service)
    first = predict(service, key="run-1")
    with ThreadPoolExecutor(4) as pool:
        repeated = list(pool.map(lambda _: predict(service, key="run-1"), range(4)))
    assert all(trial == first for trial in repeated)
    assert predict(service, key="run-2").number == 2


def test_an_idempotency_key_cannot_move_to_other_gpus(service: Service) -> None:
    register(service)
    predict(service, V100, key="run-1")
    with pytest.raises(KeyReused):
        predict(service, A40, key="run-1")


def test_an_arm_whose_trial_is_never_heard_of_again_is_tried_again(service: Service, clock: Clock) -> None:
    register(service)
    lost = predict(service)
    clock.turn(2 * LEASE)
    assert use_cases.get_trial(service, lost.trial_id).state == "abandoned"
    assert predict(service).batch_size == lost.batch_size
    page = use_cases.list_trials(service, JOB, state="abandoned", cursor=None, limit=10)
    assert [trial.trial_id for trial in page.trials] == [lost.trial_id]


def test_a_lost_trial_shows_as_abandoned_before_any_writer_notices(service: Service, clock: Clock) -> None:
    register(service)
    lost = predict(service)
    clock.turn(2 * LEASE)
    listed = use_cases.list_trials(service, JOB, state="abandoned", cursor=None, limit=10).trials
    assert [trial.trial_id for trial in listed] == [lost.trial_id]
    assert use_cases.list_trials(service, JOB, state="running", cursor=None, limit=10).trials == []


def test_out_of_memory_closes_the_arm_and_all_larger_ones_on_that_gpu_alone(service: Service) -> None:
    register(service)
    report(service, predict(service, V100), 0, outcome="oom")
    job = use_cases.get_job(service, JOB)
    assert [placement.smallest_oom_batch_size for placement in job.placements] == [32]
    assert {predict(service, V100).batch_size for _ in range(6)} == {8, 16}
    assert predict(service, A40).batch_size == 32


def test_the_smallest_batch_size_that_ran_out_of_memory_counts(service: Service) -> None:
    register(service)
    together = [predict(service) for _ in range(5)]
    for trial in sorted(together, key=lambda trial: -trial.batch_size)[:4]:
        report(service, trial, 0, outcome="oom")
    assert {predict(service).batch_size for _ in range(3)} == {8}


def test_when_nothing_fits_the_memory_the_error_says_what_to_do(service: Service) -> None:
    register(service, batch_sizes=[32], default_batch_size=32)
    report(service, predict(service), 0, outcome="oom")
    with pytest.raises(NoBatchSizeLeft, match=r"32 ran out of memory.*PATCH"):
        predict(service)
    with pytest.raises(NoBatchSizeLeft, match="max_batch_size is 8"):
        predict(service, A40, max_batch_size=8)


def test_a_node_with_less_memory_gets_no_larger_batch_size(service: Service) -> None:
    register(service)
    assert {predict(service, max_batch_size=16).batch_size for _ in range(4)} <= {8, 16}


def test_placements_learn_apart(service: Service) -> None:
    register(service)
    for _ in range(5):
        recur(service, dict.fromkeys([8, 16, 32, 64, 128], 100.0))
    assert predict(service, A40).batch_size == 32
    assert len(use_cases.get_job(service, JOB).placements) == 2


@pytest.mark.parametrize(("scaling", "rate"), [("linear", 0.2), ("sqrt", 0.1 * 2**0.5), ("none", 0.1)])
def test_the_learning_rate_follows_the_batch_size(service: Service, scaling: str, rate: float) -> None:
    register(service, learning_rate={"default": 0.1, "scaling": scaling})
    rates = {trial.batch_size: trial.learning_rate for trial in (predict(service) for _ in range(5))}
    assert rates[32] == pytest.approx(0.1)
    assert rates[64] == pytest.approx(rate)


def test_a_batch_size_without_measurements_asks_for_them_and_then_gets_the_best_limit(service: Service) -> None:
    register(service, batch_sizes=[32], eta_knob=1.0, power_limits_watts=[100, 175, 250])
    first = predict(service)
    assert (first.power_limit_watts, first.profile_power_limits_watts) == (None, [250, 175, 100])
    measure(service, 32, w250=200.0)
    second = predict(service)
    assert (second.power_limit_watts, second.profile_power_limits_watts) == (None, [175, 100])
    measure(service, 32, w175=150.0, w100=170.0)
    third = predict(service)
    assert (third.power_limit_watts, third.profile_power_limits_watts) == (175, [])


def test_without_own_limits_the_range_of_the_gpu_is_stepped_through(service: Service) -> None:
    register(service, power_limit_step_watts=50)
    assert predict(service, V100).profile_power_limits_watts == [250, 200, 150, 100]
    assert predict(service, A40).profile_power_limits_watts == [300, 250, 200, 150, 100]


def test_an_enormous_range_is_stepped_through_in_few_steps(service: Service) -> None:
    register(service, power_limit_step_watts=1)
    huge = Gpu(model="huge", min_power_limit_watts=1, max_power_limit_watts=100_000)
    limits = predict(service, huge).profile_power_limits_watts
    assert limits[0] == 100_000
    assert len(limits) <= 64


def test_limits_outside_of_the_range_of_the_gpu_are_refused_by_name(service: Service) -> None:
    register(service, power_limits_watts=[400, 500])
    with pytest.raises(NoPowerLimitFits, match=r"400, 500.*100 to 250") as refused:
        predict(service)
    assert refused.value.fields[0].field == "gpu.min_power_limit_watts"
    assert use_cases.get_job(service, JOB).placements == []


def test_a_node_with_a_narrower_range_gets_a_limit_that_it_can_set(service: Service) -> None:
    register(service, eta_knob=1.0, power_limits_watts=[100, 175, 250])
    measure(service, 32, w250=200.0, w175=180.0, w100=150.0)
    capped = V100.model_copy(update={"min_power_limit_watts": 150})
    assert predict(service, capped).power_limit_watts == 175
    assert use_cases.get_job(service, JOB).placements[0].gpu == V100


def test_the_same_seed_makes_the_same_decisions(service: Service) -> None:
    joules = {8: 400.0, 16: 200.0, 32: 110.0, 64: 100.0, 128: 105.0}
    histories = []
    for _ in range(2):
        register(service, seed=5)
        histories.append([recur(service, joules) for _ in range(20)])
        use_cases.delete_job(service, JOB, force=True)
    assert histories[0] == histories[1]
