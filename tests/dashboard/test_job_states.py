"""The page of a job in every state that a job can be in: it says what is known, and nothing of what is not."""

import json
from typing import Any

import pytest

from rheostat import service as use_cases
from rheostat.dashboard.views.job import facts
from rheostat.schemas.server import Gpu
from rheostat.schemas.trials import ObserveRunRequest
from rheostat.service.tokens import create_token
from tests.dashboard.conftest import Pages
from tests.domain.examples import A40, JOB, V100, settings
from tests.service.examples import converge, done, measure, predict, register, report

PATH = f"/jobs/{JOB}"


def test_a_job_that_has_not_run_says_how_to_begin(empty: Pages) -> None:
    register(empty.service)
    page = empty.get(PATH)
    lines = ["export RHEOSTAT_URL=http://localhost", f"rheostat run --job {JOB} \\"]
    lines += ["--metric-pattern 'accuracy={metric}' \\", "-- python train.py --batch-size"]
    assert " ".join(lines) in page.text
    assert ("This job has not run yet" in page.text, page.figures) == (True, {})


def test_runs_that_were_imported_are_shown_without_a_run_of_the_servers_own(empty: Pages) -> None:
    register(empty.service, policy="rheostat")
    run = ObserveRunRequest(batch_size=32, gpu=V100, energy_joules=9e5, time_seconds=5e3, converged=True)
    done(use_cases.observe_run(empty.service, JOB, run, None))
    page = empty.get(PATH)
    assert "No run was started here yet" in page.text
    assert ("32 default" in page.text, "arms" in page.figures, "Latest run" in page.text) == (
        True,
        True,
        False,
    )
    home = empty.get("/").text
    assert (f"{JOB} imported" in home, "never run" in home) == (True, False)


def test_a_run_that_has_reported_nothing_shows_no_figures(empty: Pages) -> None:
    register(empty.service)
    predict(empty.service)
    text = empty.get(PATH).text
    assert "What was saved shows once a run has reached its target." in text
    assert "Not at the target yet. Why" not in text
    assert "epochs," not in text


def test_what_is_not_known_of_a_run_is_left_out(empty: Pages) -> None:
    register(empty.service)
    report(empty.service, predict(empty.service), 1, outcome="oom", time_seconds=10.0)
    assert "The trainer reported oom. 1 epoch, 10" in empty.get(PATH).text


@pytest.mark.parametrize(
    ("gpu", "words"), [(V100, "while its power limits are measured"), (Gpu(model="L4"), "without a power limit")]
)
def test_a_run_without_a_power_limit_says_why(empty: Pages, gpu: Gpu, words: str) -> None:
    register(empty.service)
    predict(empty.service, gpu)
    assert words in empty.get(PATH).text


def test_a_job_on_two_kinds_of_gpus_has_an_account_of_each(empty: Pages) -> None:
    register(empty.service, policy="rheostat")
    for gpu in (V100, A40):
        for _ in range(2):
            trial = predict(empty.service, gpu)
            measure(empty.service, trial.batch_size, gpu, w250=100.0, w200=90.0)
            converge(empty.service, trial, 400.0)
    for placement in (0, 1):
        account = json.loads(empty.get(f"{PATH}?placement={placement}").figures["account"])
        assert len(account["data"][0]["x"]) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"eta_knob": 1.0}, ("eta_knob", "1, energy alone")),
        ({"eta_knob": 0.0}, ("eta_knob", "0, time alone")),
        ({"eta_knob": 0.5}, ("eta_knob", "0.5, energy and time alike")),
        ({"beta_knob": None}, ("beta_knob", "none, a run may cost anything")),
        ({"beta_knob": 2.0}, ("beta_knob", "2, a run stops at 2 \N{MULTIPLICATION SIGN} the lowest cost")),
        ({"target": None, "max_epochs": 9}, ("trains", "9 epochs")),
    ],
)
def test_settings_are_explained(changes: dict[str, object], words: tuple[str, str]) -> None:
    assert words in facts(settings(**changes))


def test_an_empty_server_says_what_to_type_with_its_own_address(empty: Pages) -> None:
    page = empty.get("/rheostat/", root_path="/rheostat", headers={"host": "localhost:8420"})
    assert "export RHEOSTAT_URL=http://localhost:8420/rheostat\nrheostat run --job my-job --batch-sizes" in page.html
    assert "RHEOSTAT_TOKEN" not in page.html
    token = create_token(empty.service, "viewer", ["read"])[0]
    assert "\nexport RHEOSTAT_TOKEN=" in empty.get("/", cookies={"rheostat_token": token}).html


def test_a_single_batch_size_is_not_compared_with_others(empty: Pages) -> None:
    register(empty.service, policy="rheostat", batch_sizes=[32])
    converge(empty.service, predict(empty.service), 100.0)
    text = empty.get(PATH).text
    assert "The best known is 32" in text
    assert ("it is the cheapest of all" in text, "exploring another" in text) == (False, False)


def test_a_job_of_one_batch_size_and_no_target_speaks_of_its_power_limit_alone(empty: Pages) -> None:
    alone: dict[str, Any] = {"target": None, "max_epochs": 1, "beta_knob": None, "survey_seconds": 0.0}
    register(empty.service, policy="rheostat", batch_sizes=[1], default_batch_size=1, **alone)
    for _ in range(2):
        report(empty.service, predict(empty.service, Gpu(model="L4")), 1, time_seconds=10.0)
    text = empty.get(PATH).text
    idle = "ower limit only; without an agent nothing is changed or saved."
    assert f"P{idle} warning" in text
    assert f"Next run Unchanged power limit, as things stand: run 3 P{idle}" in text
    assert "chooses the power limit alone" in text
    assert not any(words in text for words in ("default batch size 1", "without a power limit", "time saved"))


def test_a_job_of_one_batch_size_and_no_target_shows_its_power_limit_as_what_is_chosen(empty: Pages) -> None:
    alone: dict[str, Any] = {
        "target": None,
        "max_epochs": 1,
        "beta_knob": None,
        "survey_seconds": 0.0,
        "eta_knob": 1.0,
        "power_limits_watts": [100, 250],
    }
    register(empty.service, policy="rheostat", batch_sizes=[1], default_batch_size=1, **alone)
    trial = predict(empty.service)
    measure(empty.service, 1, w250=200.0, w100=130.0)
    report(empty.service, trial, 1, energy_joules=150.0, time_seconds=1.5)
    text = empty.get(PATH).text
    assert "Next run 100" in text
    assert "W is the power limit, as things stand: run 2 Power limit only: expected cost" in text


def test_time_alone_is_said_to_be_saved_in_time_alone(empty: Pages) -> None:
    register(empty.service, batch_sizes=[32])
    for _ in range(2):
        report(empty.service, predict(empty.service, Gpu(model="L4")), 1, metric=0.95, time_seconds=10.0)
    text = empty.get(PATH).text
    assert "How the savings were got: Energy: not reported by any run. Time: actual: all runs that trained" in text
    assert "left out" not in text
