"""What is believed, and what was saved."""

from rheostat import service as use_cases
from rheostat.schemas.insight import PlacementSavings
from rheostat.service import Service
from tests.domain.examples import A40, JOB, V100
from tests.service.examples import converge, predict, recur, register, report


def _savings(service: Service) -> PlacementSavings:
    return use_cases.savings(service, JOB).placements[0]


def test_failed_and_stopped_runs_are_paid_for_too(service: Service) -> None:
    register(service, eta_knob=1.0)
    converge(service, predict(service), 100.0)
    report(service, predict(service), 1, metric=0.1, energy_joules=300.0, time_seconds=3.0)
    saved = _savings(service)
    assert (saved.converged_runs, saved.energy_joules.actual, saved.energy_joules.baseline) == (1, 400.0, 100.0)
    assert "no epoch was measured at 250 W" in saved.energy_joules.method


def test_estimates_are_of_every_placement(service: Service) -> None:
    register(service)
    recur(service, {32: 100.0})
    predict(service, A40)
    placements = use_cases.estimates(service, JOB).placements
    assert [(placement.gpu, sum(arm.runs for arm in placement.arms)) for placement in placements] == [
        (V100, 1),
        (A40, 0),
    ]
