"""Surveys: what was measured is there for whoever asks next, and many at once do no harm."""

from concurrent.futures import ThreadPoolExecutor

from rheostat import service as use_cases
from rheostat.domain.policy_states import States
from rheostat.schemas.control import OrderRequest
from rheostat.schemas.power import ObservePowerLimitRequest, SurveyAnswer, SurveyRequest
from rheostat.service import Service
from tests.domain.examples import JOB, V100, measurements_of
from tests.service.examples import converge, done, measure, predict, register, restarted

JOULES = {8: 400.0, 16: 200.0, 32: 100.0, 64: 50.0, 128: 25.0}


def survey(service: Service) -> SurveyAnswer:
    return done(use_cases.survey(service, JOB, SurveyRequest(gpu=V100), None))


def make_survey(service: Service) -> int:
    """Measure what is asked for until nothing is; return how many slices that took."""
    slices = 0
    while steps := survey(service).survey:
        slices += 1
        step, limit = steps[0], steps[0].power_limits_watts[0]
        measurements = measurements_of(**{f"w{limit}": JOULES[step.batch_size] + limit / 10})
        request = ObservePowerLimitRequest(batch_size=step.batch_size, gpu=V100, measurements=measurements)
        done(use_cases.observe_power_limit(service, JOB, request, None))
    return slices


def states(service: Service) -> States:
    return service.jobs.read(service.job(JOB), lambda job, _: job.states)


def test_a_survey_goes_on_over_a_restart_and_is_known_to_the_first_trial(service: Service) -> None:
    register(service, policy="rheostat", eta_knob=1.0, power_limits_watts=[100, 175, 250])
    measure(service, 32, w250=125.0, w175=117.5)
    assert make_survey(restarted(service)) == 5
    fresh = restarted(service)
    assert survey(fresh).reason == "all that is worth measuring is measured"
    assert survey(fresh).budget_seconds == 113.0
    assert predict(fresh).batch_size == 128
    before = states(fresh)
    assert done(use_cases.rebuild_job(fresh, JOB)) == 7
    assert states(restarted(fresh)) == before


def test_what_does_not_fit_is_stored(service: Service) -> None:
    register(service, policy="rheostat")
    done(
        use_cases.observe_power_limit(
            service, JOB, ObservePowerLimitRequest(batch_size=64, gpu=V100, outcome="oom"), None
        )
    )
    fresh = restarted(service)
    assert use_cases.get_job(fresh, JOB).placements[0].smallest_oom_batch_size == 64
    trial = predict(fresh)
    converge(fresh, trial, 100.0)
    assert done(use_cases.rebuild_job(fresh, JOB)) == 2
    assert use_cases.get_job(restarted(fresh), JOB).placements[0].smallest_oom_batch_size == 64


def test_eight_trainers_that_survey_at_once_end(service: Service) -> None:
    register(service, policy="rheostat", eta_knob=1.0, power_limits_watts=[100, 175, 250])
    with ThreadPoolExecutor(8) as pool:
        slices = list(pool.map(lambda _: make_survey(service), range(8)))
    assert sum(slices) <= 8 * 7
    assert survey(service).survey == []
    assert predict(service).batch_size == 128


def test_an_order_opens_what_a_survey_closed(service: Service) -> None:
    register(service, policy="rheostat")
    request = ObservePowerLimitRequest(batch_size=64, gpu=V100, outcome="oom")
    done(use_cases.observe_power_limit(service, JOB, request, None))
    done(use_cases.force_job(service, JOB, OrderRequest(batch_size=64)))
    assert use_cases.get_job(restarted(service), JOB).placements[0].smallest_oom_batch_size is None
    assert predict(restarted(service)).batch_size == 64
