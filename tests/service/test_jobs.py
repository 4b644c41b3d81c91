"""Registering, changing, listing, deleting and rebuilding jobs."""

from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select

from rheostat import service as use_cases
from rheostat.errors import InvalidInput, JobBusy, JobDiffers, JobNotFound, NoBatchSizeLeft, TrialNotFound
from rheostat.schemas.server import (
    Gpu,
    JobUpdate,
    ObservePowerLimitRequest,
    ObserveRunRequest,
    PowerLimitMeasurement,
    PredictPowerLimitRequest,
)
from rheostat.service import Service
from rheostat.storage.tables import jobs, policy_states
from tests.service.examples import (
    A40,
    JOB,
    LEASE,
    V100,
    Clock,
    converge,
    measure,
    predict,
    recur,
    register,
    report,
    settings,
)


def test_a_job_is_new_once_and_then_found_again(service: Service) -> None:
    job, is_new = use_cases.register_job(service, JOB, settings())
    again, is_new_again = use_cases.register_job(service, JOB, settings())
    assert (is_new, is_new_again) == (True, False)
    assert again == job == use_cases.get_job(service, JOB)


def test_other_settings_under_the_same_id_are_refused_with_what_differs(service: Service) -> None:
    register(service)
    with pytest.raises(JobDiffers) as refused:
        register(service, eta_knob=1.0, max_epochs=20)
    assert [field.field for field in refused.value.fields] == ["eta_knob", "max_epochs"]
    assert "registered as 10, now 20" in refused.value.fields[1].message


def test_a_trainer_that_registers_again_does_not_undo_what_an_operator_changed(service: Service) -> None:
    register(service)
    use_cases.update_job(service, JOB, JobUpdate(eta_knob=1.0))
    job, is_new = use_cases.register_job(service, JOB, settings())
    assert not is_new
    assert job.settings.eta_knob == 1.0


def test_an_unknown_policy_is_refused_with_those_that_exist(service: Service) -> None:
    with pytest.raises(InvalidInput, match="zeus") as refused:
        register(service, policy="nobodys")
    assert refused.value.fields[0].field == "policy"
    with pytest.raises(JobNotFound):
        use_cases.get_job(service, JOB)


def test_without_a_seed_the_server_picks_one_and_keeps_it(service: Service) -> None:
    register(service, "a", seed=None)
    register(service, "b", seed=None)
    first, second = (use_cases.get_job(service, job_id).effective_seed for job_id in "ab")
    assert first != second
    assert use_cases.register_job(service, "a", settings(seed=None))[0].effective_seed == first


def test_jobs_are_listed_page_by_page_in_the_order_of_their_ids(service: Service) -> None:
    for job_id in ("c", "a", "d", "b", "e"):
        register(service, job_id)
    pages, cursor = [], None
    while True:
        page = use_cases.list_jobs(service, cursor=cursor, limit=2)
        pages.append([job.job_id for job in page.jobs])
        cursor = page.next_cursor
        if cursor is None:
            break
    assert pages == [["a", "b"], ["c", "d"], ["e"]]


def test_a_new_eta_knob_prices_past_runs_anew(service: Service) -> None:
    register(service, eta_knob=1.0)
    trial = predict(service)
    converge(service, trial, joules=300.0, seconds=10.0)
    assert use_cases.get_trial(service, trial.trial_id).cost == 300.0
    use_cases.update_job(service, JOB, JobUpdate(eta_knob=0.0))
    assert use_cases.get_trial(service, trial.trial_id).cost == 250.0 * 10.0
    arms = use_cases.estimates(service, JOB).placements[0].arms
    assert [arm.cost for arm in arms if arm.batch_size == 32] == [2500.0]


def test_a_new_eta_knob_may_choose_another_power_limit(service: Service) -> None:
    register(service, eta_knob=1.0, power_limits_watts=[100, 250])
    predict(service)
    fast = PowerLimitMeasurement(power_limit_watts=250, time_seconds=1.0, energy_joules=200.0, steps=1)
    frugal = PowerLimitMeasurement(power_limit_watts=100, time_seconds=1.5, energy_joules=140.0, steps=1)
    measured = ObservePowerLimitRequest(batch_size=32, gpu=V100, measurements=[fast, frugal])
    asked = PredictPowerLimitRequest(batch_size=32, gpu=V100)
    assert use_cases.observe_power_limit(service, JOB, measured).power_limit_watts == 100
    use_cases.update_job(service, JOB, JobUpdate(eta_knob=0.0))
    assert use_cases.predict_power_limit(service, JOB, asked).power_limit_watts == 250


def test_batch_sizes_can_be_added_and_are_then_explored(service: Service) -> None:
    register(service, batch_sizes=[16, 32], default_batch_size=32)
    joules = {16: 100.0, 32: 90.0, 64: 50.0}
    assert {recur(service, joules) for _ in range(8)} == {16, 32}
    use_cases.update_job(service, JOB, JobUpdate(batch_sizes=[16, 32, 64]))
    assert 64 in {recur(service, joules) for _ in range(8)}


def test_batch_sizes_cannot_be_taken_away(service: Service) -> None:
    register(service)
    with pytest.raises(InvalidInput, match="8, 128") as refused:
        use_cases.update_job(service, JOB, JobUpdate(batch_sizes=[16, 32, 64, 256]))
    assert refused.value.fields[0].field == "batch_sizes"


def test_a_job_with_running_trials_is_deleted_only_by_force(service: Service, clock: Clock) -> None:
    register(service)
    trial = predict(service)
    with pytest.raises(JobBusy):
        use_cases.delete_job(service, JOB, force=False)
    use_cases.delete_job(service, JOB, force=True)
    with pytest.raises(JobNotFound):
        use_cases.get_job(service, JOB)
    with pytest.raises(TrialNotFound):
        report(service, trial, 1)


def test_a_job_whose_trials_are_all_over_or_lost_is_deleted(service: Service, clock: Clock) -> None:
    register(service)
    converge(service, predict(service), 100.0)
    predict(service)
    clock.turn(2 * LEASE)
    use_cases.delete_job(service, JOB, force=False)
    assert use_cases.list_jobs(service, cursor=None, limit=10).jobs == []
    assert _states(service) == []


steps = st.lists(
    st.tuples(
        st.sampled_from(["converge", "slowly", "late", "fail", "oom", "cancel", "stop", "run", "measure"]),
        st.sampled_from([V100, A40]),
        st.floats(1.0, 1e6),
    ),
    max_size=25,
)


@hypothesis_settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@pytest.mark.parametrize("policy", ["rheostat", "zeus"])
@given(steps=steps)
def test_the_state_is_a_fold_over_the_observations(
    service: Service, policy: str, steps: list[tuple[str, Gpu, float]]
) -> None:
    """Whatever happened, and on which GPU, deriving the state anew gives what the server holds."""
    register(service, window_size=3, policy=policy)
    for kind, gpu, figure in steps:
        with suppress(NoBatchSizeLeft):
            _take(service, kind, gpu, figure)
    before = _states(service)
    use_cases.rebuild_job(service, JOB)
    assert _states(service) == before
    use_cases.delete_job(service, JOB, force=True)


def _take(service: Service, kind: str, gpu: Gpu, figure: float) -> None:
    if kind == "run":
        request = ObserveRunRequest(batch_size=64, gpu=gpu, energy_joules=figure, converged=figure > 100)
        use_cases.observe_run(service, JOB, request, None)
    elif kind == "measure":
        measure(service, 16, gpu, w100=figure)
    else:
        trial = predict(service, gpu)
        if kind == "slowly":
            for epoch, metric in ((1, 0.3), (2, 0.5), (3, 0.7), (4, 0.92)):
                report(service, trial, epoch, metric=metric, energy_joules=figure * epoch, time_seconds=float(epoch))
        elif kind in ("converge", "late"):
            converge(service, trial, figure)
            if kind == "late":
                report(service, trial, 2, energy_joules=2 * figure, time_seconds=figure)
        elif kind == "stop":
            report(service, trial, 1, metric=0.1, energy_joules=figure, time_seconds=figure)
        else:
            outcome = {"fail": "failed", "oom": "oom", "cancel": "cancelled"}[kind]
            report(service, trial, 1, energy_joules=figure, outcome=outcome)


def _states(service: Service) -> list[tuple[object, ...]]:
    query = select(policy_states).order_by(policy_states.c.placement_pk, policy_states.c.part)
    return service.database.read(lambda connection: [tuple(row) for row in connection.execute(query)])


def test_rebuild_tells_how_much_it_folded(service: Service) -> None:
    register(service)
    converge(service, predict(service), 100.0)
    measure(service, 32, w250=10.0, w200=9.0)
    assert use_cases.rebuild_job(service, JOB) == 3
    with pytest.raises(JobNotFound):
        use_cases.rebuild_job(service, "another")
    assert service.database.read(lambda c: c.execute(select(jobs.c.next_sequence)).scalar_one()) == 4
