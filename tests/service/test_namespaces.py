"""Namespaces: what belongs to one is not there for another. And the trail that all of them leave."""

from dataclasses import replace

import pytest

from rheostat import service as use_cases
from rheostat.errors import JobNotFound, NamespaceForbidden, RheostatError, ScopeMissing, TrialNotFound
from rheostat.schemas.fields import Scope
from rheostat.schemas.server import JobUpdate
from rheostat.schemas.trials import ObserveRequest
from rheostat.service import Service
from rheostat.service.audit import list_audit
from rheostat.service.identity import LOCAL, Identity
from tests.domain.examples import JOB
from tests.service.examples import done, predict, recur, register

JOULES = {8: 400.0, 16: 200.0, 32: 110.0, 64: 100.0, 128: 105.0}


@pytest.fixture
def vision(service: Service) -> Service:
    return replace(service, namespace="team-vision", actor="vision")


@pytest.fixture
def speech(service: Service) -> Service:
    return replace(service, namespace="team-speech", actor="speech")


def test_two_namespaces_may_use_one_job_id_and_learn_apart(vision: Service, speech: Service) -> None:
    register(vision, eta_knob=1.0)
    register(speech, eta_knob=0.0)
    recur(vision, JOULES)
    assert use_cases.get_job(vision, JOB).trials == 1
    assert use_cases.get_job(speech, JOB).trials == 0
    assert use_cases.get_job(speech, JOB).settings.eta_knob == 0.0
    assert len(use_cases.estimates(speech, JOB).placements) == 0
    done(use_cases.delete_job(speech, JOB, force=False))
    assert use_cases.get_job(vision, JOB).trials == 1


def test_the_jobs_and_trials_of_others_are_not_there(service: Service, vision: Service, speech: Service) -> None:
    register(vision)
    trial = predict(vision)
    for other in (service, speech):
        assert use_cases.list_jobs(other, cursor=None, limit=10).jobs == []
        with pytest.raises(JobNotFound):
            use_cases.get_job(other, JOB)
        with pytest.raises(JobNotFound):
            predict(other)
        with pytest.raises(JobNotFound):
            done(use_cases.delete_job(other, JOB, force=True))
        with pytest.raises(TrialNotFound):
            use_cases.get_trial(other, trial.trial_id)
        with pytest.raises(TrialNotFound):
            done(use_cases.heartbeat(other, trial.trial_id))
        with pytest.raises(TrialNotFound):
            done(use_cases.observe(other, trial.trial_id, ObserveRequest(epoch=1, metric=0.99)))
    assert use_cases.get_trial(vision, trial.trial_id).state == "running"


@pytest.mark.parametrize(
    ("identity", "wanted", "namespace"),
    [
        (Identity("x", ("trainer",)), None, "default"),
        (Identity("x", ("trainer",)), "default", "default"),
        (Identity("x", ("trainer",)), "team-vision", None),
        (Identity("x", ("trainer",), "team-vision"), None, "team-vision"),
        (Identity("x", ("trainer",), "team-vision"), "team-vision", "team-vision"),
        (Identity("x", ("trainer",), "team-vision"), "default", None),
        (Identity("x", ("admin",)), None, "default"),
        (Identity("x", ("admin",)), "team-vision", "team-vision"),
        (Identity("x", ("admin",), "team-vision"), "team-speech", None),
        (LOCAL, "team-vision", "team-vision"),
    ],
)
def test_only_an_admin_of_all_namespaces_may_name_another(
    identity: Identity, wanted: str | None, namespace: str | None
) -> None:
    if namespace is None:
        with pytest.raises(NamespaceForbidden):
            identity.namespace_for(wanted)
    else:
        assert identity.namespace_for(wanted) == namespace


def test_a_scope_lets_its_own_be_done_and_admin_everything(service: Service) -> None:
    assert Identity("x", ("read",)).authorise(service, "read").actor == "x"
    assert Identity("x", ("admin",)).authorise(service, "trainer").actor == "x"
    refused: list[tuple[tuple[str, ...], Scope]] = [
        (("read",), "trainer"),
        (("trainer",), "read"),
        (("trainer", "read"), "admin"),
    ]
    for scopes, needed in refused:
        with pytest.raises(ScopeMissing, match="lacks the scope"):
            Identity("x", scopes).authorise(service, needed)


def test_who_registered_changed_and_deleted_is_on_record(service: Service, vision: Service, speech: Service) -> None:
    register(vision)
    register(vision)
    register(speech)
    done(use_cases.update_job(vision, JOB, JobUpdate(eta_knob=0.25)))
    done(use_cases.delete_job(vision, JOB, force=False))
    entries = list_audit(service, namespace="team-vision", cursor=None, limit=10).entries
    assert [(entry.actor, entry.action, entry.subject, entry.details) for entry in entries] == [
        ("vision", "delete_job", JOB, {"trials": 0}),
        ("vision", "update_job", JOB, {"eta_knob": 0.25}),
        ("vision", "register_job", JOB, {}),
    ]
    first = list_audit(service, namespace=None, cursor=None, limit=3)
    assert first.next_cursor is not None
    rest = list_audit(service, namespace=None, cursor=int(first.next_cursor), limit=3)
    assert len(first.entries + rest.entries) == 4
    assert rest.next_cursor is None


def test_a_change_that_fails_is_not_on_record(service: Service) -> None:
    register(service)
    predict(service)
    with pytest.raises(RheostatError):
        done(use_cases.delete_job(service, JOB, force=False))
    assert [e.action for e in list_audit(service, namespace=None, cursor=None, limit=9).entries] == ["register_job"]
