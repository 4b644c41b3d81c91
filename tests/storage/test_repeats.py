"""What is asked again and changes nothing takes no part of the writer."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rheostat import service as use_cases
from rheostat.domain.history import History
from rheostat.domain.job import Decision, Job
from rheostat.errors import KeyReused, ReportContradicts
from rheostat.schemas.power import PowerLimitAnswer
from rheostat.schemas.trials import ObserveRunAnswer, ObserveRunRequest
from rheostat.service import Service
from tests.domain.examples import A40, JOB, LEASE, V100, Clock
from tests.service.examples import converge, done, measure, predict, register, report


@contextmanager
def _no_writer(service: Service) -> Iterator[None]:
    """Let the writer decide nothing for the length of a block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service.jobs, "_enqueue", lambda change: pytest.fail("asked the writer"))
        yield


def test_a_key_of_an_ended_trial_is_answered_without_the_writer(service: Service) -> None:
    register(service)
    trial = predict(service, key="run-1")
    converge(service, trial, 100.0)
    first = predict(service, key="run-1")
    assert first.state == "converged"
    with _no_writer(service):
        assert predict(service, key="run-1") == first
        with pytest.raises(KeyReused):
            predict(service, A40, key="run-1")


def test_reports_of_an_ended_trial_are_answered_without_the_writer(service: Service) -> None:
    register(service)
    trial = predict(service)
    converge(service, trial, 100.0)
    first = converge(service, trial, 100.0)
    beat = done(use_cases.heartbeat(service, trial.trial_id))
    with pytest.raises(ReportContradicts):
        converge(service, trial, 101.0)
    with _no_writer(service):
        assert converge(service, trial, 100.0) == first
        assert done(use_cases.heartbeat(service, trial.trial_id)) == beat
        with pytest.raises(ReportContradicts):
            converge(service, trial, 101.0)


def test_runs_and_measurements_of_a_key_are_answered_without_the_writer(service: Service) -> None:
    register(service)
    run = ObserveRunRequest(batch_size=32, gpu=V100, cost=100.0)

    def answers() -> tuple[ObserveRunAnswer, PowerLimitAnswer]:
        return done(use_cases.observe_run(service, JOB, run, "a")), measure(service, 32, key="b", w250=1.0)

    first = answers()
    assert answers() == first
    with _no_writer(service):
        assert answers() == first


def test_what_changes_something_after_all_is_written(service: Service, clock: Clock) -> None:
    register(service)
    trial = predict(service, key="run-1")
    converge(service, trial, 100.0)
    predict(service, key="run-1")
    converge(service, trial, 100.0)
    again = predict(service, key="run-1", on_used_key="new")
    assert (again.number, again.state) == (2, "running")
    report(service, trial, 3, energy_joules=500.0, time_seconds=9.0)
    assert predict(service, key="run-1").trial_id == again.trial_id
    report(service, again, 1, metric=0.5)
    assert predict(service, key="run-1").progress is not None
    clock.turn(2 * LEASE)
    predict(service)
    assert use_cases.get_trial(service, again.trial_id).state == "abandoned"
    assert predict(service, key="run-1").state == "running"
    assert use_cases.get_trial(service, again.trial_id).state == "running"


def test_a_decision_that_breaks_is_the_answer(service: Service) -> None:
    register(service)

    def decided(numerator: int, denominator: int) -> int:
        def decide(job: Job, _: History) -> Decision[int]:
            return Decision(numerator // denominator, job)

        return done(service.change(service.job(JOB), decide, repeat="same"))

    assert decided(4, 2) == 2
    with pytest.raises(ZeroDivisionError):
        decided(4, 0)
    service.repeats.close()
    assert decided(6, 2) == 3
