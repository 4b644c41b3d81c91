"""The use cases of `/zeus` on each engine: what many trainers of one job do at once, and what is kept of it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rheostat import service as use_cases
from rheostat.errors import JobDiffers
from rheostat.schemas.zeus import ZeusJob, ZeusReport, ZeusTrial, ZeusVerdict
from rheostat.service import Service, zeus
from rheostat.service.jobs import rebuild_job
from rheostat.storage.tables import policy_states
from tests.service.examples import done
from tests.serving import ZEUS_JOB

JOB = "nightly"


def register(service: Service, **changes: Any) -> bool:
    return done(zeus.register_job(service, ZeusJob.model_validate(ZEUS_JOB | changes), None)).is_new


def predict(service: Service) -> ZeusTrial:
    return done(zeus.predict(service, JOB))


def report(service: Service, trial: ZeusTrial, joules: float = 100.0, metric: float = 0.6) -> ZeusVerdict:
    figures = {"time": joules / 1000, "energy": joules, "metric": metric, "current_epoch": 1}
    return done(zeus.report(service, ZeusReport.model_validate(trial.model_dump() | figures)))


def test_of_sixteen_registrations_at_once_one_is_new(service: Service) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(lambda _: register(service), range(16))) == 1
    with pytest.raises(JobDiffers):
        register(service, max_power=999)


def test_a_job_without_an_id_is_given_one_with_its_prefix(service: Service) -> None:
    made = [
        done(zeus.register_job(service, ZeusJob.model_validate(ZEUS_JOB | {"job_id": None, **prefix}), None)).job
        for prefix in ({"job_id_prefix": "night"}, {"job_id_prefix": "night"}, {"job_id_prefix": ""})
    ]
    assert made[0].job_id is not None
    assert made[0].job_id.startswith("night-")
    assert len({job.job_id for job in made}) == 3
    assert [job.job_id for job in use_cases.list_jobs(service, cursor=None, limit=9).jobs] == sorted(
        str(job.job_id) for job in made
    )


def test_many_trainers_at_once_get_numbers_of_their_own_and_one_explores(service: Service) -> None:
    register(service)
    with ThreadPoolExecutor(16) as pool:
        trials = list(pool.map(lambda _: predict(service), range(32)))
    assert sorted(trial.trial_number for trial in trials) == list(range(1, 33))
    assert {trial.batch_size for trial in trials} == {32}
    with ThreadPoolExecutor(16) as pool:
        verdicts = list(pool.map(lambda trial: report(service, trial), trials))
    assert all(verdict.converged for verdict in verdicts)
    assert predict(service).batch_size == 16


def test_sixteen_simultaneous_reports_of_one_trial_are_one_result(service: Service) -> None:
    register(service)
    trial = predict(service)
    with ThreadPoolExecutor(16) as pool:
        verdicts = list(pool.map(lambda joules: report(service, trial, 100.0 + joules), range(16)))
    assert all((verdict.stop_train, verdict.converged) == (True, True) for verdict in verdicts)
    assert sum("already reported" in verdict.message for verdict in verdicts) == 15
    arms = use_cases.estimates(service, JOB).placements[0].arms
    assert [arm.runs for arm in arms] == [0, 0, 1, 0]


def test_what_ran_beside_an_exploration_is_kept_for_a_rebuild(service: Service) -> None:
    register(service)
    first, beside = predict(service), predict(service)
    report(service, beside)
    report(service, first, metric=0.1)
    report(service, predict(service), 120.0)

    def states() -> list[Any]:
        rows = service.database.read(lambda connection: connection.execute(policy_states.select()).all())
        return sorted((row.part, str(row.state)) for row in rows)

    before = states()
    done(rebuild_job(service, JOB))
    assert states() == before


def test_its_runs_count_in_savings(service: Service) -> None:
    register(service)
    report(service, predict(service), 100.0)
    placement = use_cases.savings(service, JOB).placements[0]
    assert placement.gpu.count == 4
    assert placement.energy_joules is not None
    assert placement.energy_joules.actual == 100.0
