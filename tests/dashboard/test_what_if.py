"""What would be best at another eta_knob."""

import pytest

from rheostat import service as use_cases
from tests.dashboard.conftest import Pages
from tests.domain.examples import JOB
from tests.service.examples import converge, predict, register

PATH = f"/jobs/{JOB}/what-if"


@pytest.fixture
def job(empty: Pages) -> Pages:
    """A job whose large batch sizes save time and cost energy."""
    register(empty.service, policy="rheostat", batch_sizes=[16, 64], default_batch_size=16, eta_knob=1.0)
    for _ in range(6):
        trial = predict(empty.service)
        converge(empty.service, trial, 3.0 * trial.batch_size + 52.0, 128.0 / trial.batch_size)
    return empty


def test_the_page_of_a_job_asks_what_if_at_its_own_knob(job: Pages) -> None:
    page = job.get(f"/jobs/{JOB}")
    assert "At eta_knob 1, which this job has, the best known is 16." in page.text
    assert f'action="/jobs/{JOB}/what-if"' in page.html


def test_recorded_runs_are_priced_at_another_knob_and_the_job_stays(job: Pages) -> None:
    before = use_cases.get_job(job.service, JOB)
    page = job.get(f"{PATH}?placement=0&eta_knob=0")
    assert "The best known would be 64; today it is 16." in page.text
    assert "That is 144 % more energy and 75 % less time." in page.text
    arms = use_cases.estimates(job.service, JOB, eta_knob=0.0).placements[0].arms
    assert all(arm.status in page.text for arm in arms)
    assert f"rheostat jobs set {JOB} eta_knob=0 would" in page.text
    assert use_cases.get_job(job.service, JOB) == before


def test_a_knob_that_changes_nothing_says_so(job: Pages) -> None:
    assert "The best known would stay 16." in job.get(f"{PATH}?eta_knob=0.99").text


@pytest.mark.parametrize("eta_knob", ["", "x", "-0.1", "1.1", "nan", "inf"])
def test_what_is_no_knob_is_refused_in_words(job: Pages, eta_knob: str) -> None:
    page = job.get(f"{PATH}?eta_knob={eta_knob}")
    assert (page.answer.status_code, "a number from 0 to 1" in page.text) == (422, True)


def test_gpus_that_the_job_never_saw_are_not_there(job: Pages) -> None:
    assert job.get(f"{PATH}?eta_knob=0.5&placement=1").answer.status_code == 404


def test_a_policy_that_keeps_costs_says_why_not(empty: Pages) -> None:
    register(empty.service, policy="zeus", eta_knob=1.0)
    converge(empty.service, predict(empty.service), 100.0)
    page = empty.get(f"{PATH}?eta_knob=0.5")
    assert (page.answer.status_code, "zeus keeps costs at eta_knob 1" in page.text) == (409, True)
