"""An operator's orders and what crashed are kept in the database, and any process obeys them."""

import pytest

from rheostat import service as use_cases
from rheostat.errors import JobNotFound, UnknownBatchSize
from rheostat.schemas.control import OrderRequest, PauseRequest
from rheostat.schemas.server import JobUpdate, Target
from rheostat.schemas.trials import ObserveRequest, PredictRequest
from rheostat.service import Service
from tests.domain.examples import JOB, V100
from tests.service.examples import done, predict, register


def test_orders_hold_in_every_process_until_they_are_withdrawn(service: Service) -> None:
    register(service)
    done(use_cases.pin_job(service, JOB, OrderRequest(batch_size=64)))
    done(use_cases.pause_job(service, JOB, PauseRequest(reason="holidays")))
    detail = done(use_cases.force_job(service, JOB, OrderRequest(batch_size=8)))
    other = Service.of(service.database, service.lease, service.now)  # with nothing cached
    assert use_cases.get_job(other, JOB) == detail
    assert [predict(other).batch_size for _ in range(2)] == [8, 64]
    done(use_cases.unpin_job(other, JOB))
    assert predict(service).batch_size == 32
    done(use_cases.resume_job(service, JOB))
    assert done(use_cases.unforce_job(service, JOB)).control is None
    actions = [entry.action for entry in service.audit_trail.page(namespace=None, before=None, limit=10)]
    assert actions == ["resume_job", "unpin_job", "force_job", "pause_job", "pin_job", "register_job"]


def test_orders_that_are_refused_change_nothing(service: Service) -> None:
    register(service)
    with pytest.raises(UnknownBatchSize):
        done(use_cases.pin_job(service, JOB, OrderRequest(batch_size=48)))
    with pytest.raises(JobNotFound):
        done(use_cases.pause_job(service, "weekly", PauseRequest()))
    assert use_cases.get_job(service, JOB).control is None


def test_a_new_trial_takes_the_key_of_one_that_has_ended(service: Service) -> None:
    register(service)
    ended = predict(service, key="night")
    done(use_cases.observe(service, ended.trial_id, ObserveRequest(epoch=1, outcome="failed")))
    request = PredictRequest(gpu=V100, on_used_key="new")
    new = done(use_cases.predict(service, JOB, request, "night"))
    assert (new.number, predict(service, key="night").trial_id) == (2, new.trial_id)


def test_what_another_target_makes_of_earlier_runs_survives_a_restart(service: Service) -> None:
    register(service)
    trial = predict(service)
    report = ObserveRequest(epoch=1, metric=0.95, energy_joules=100.0, time_seconds=1.0)
    done(use_cases.observe(service, trial.trial_id, report))
    target = Target(metric="accuracy", value=0.99, direction="maximize")
    done(use_cases.update_job(service, JOB, JobUpdate(target=target)))
    other = Service.of(service.database, service.lease, service.now)
    done(use_cases.rebuild_job(other, JOB))
    assert use_cases.get_job(other, JOB).settings.target == target
    assert [arm.runs for arm in use_cases.estimates(other, JOB).placements[0].arms] == [0, 0, 0, 0, 0]


def test_crashes_survive_a_restart(service: Service) -> None:
    register(service)
    for _ in range(2):
        crashed = predict(service)
        done(use_cases.observe(service, crashed.trial_id, ObserveRequest(epoch=0, outcome="cancelled")))
    other = Service.of(service.database, service.lease, service.now)
    assert (crashed.batch_size, predict(other).batch_size) == (32, 16)
