"""The pages, as a server renders them."""

import json
import re

import pytest
from sqlalchemy import text

from rheostat import service as use_cases
from rheostat.dashboard.pages import job as job_page
from rheostat.dashboard.pages.trial import MOST_REPORTS
from rheostat.dashboard.visit import TEMPLATES
from rheostat.schemas.control import OrderRequest
from rheostat.schemas.insight import Saving
from rheostat.schemas.nodes import HeartbeatRequest, NodeReport, ReportedGpu
from rheostat.service import review
from rheostat.service.tokens import create_token, new_token
from tests.dashboard.conftest import Pages
from tests.domain.examples import JOB
from tests.service.examples import converge, done, predict, register, report
from tests.visualization.examples import NODE


def saved(saving: Saving) -> float:
    assert saving.actual is not None
    assert saving.baseline is not None
    return saving.baseline - saving.actual


def test_an_empty_server_says_how_to_begin(empty: Pages) -> None:
    page = empty.get("/")
    assert page.answer.status_code == 200
    assert "No job is registered yet" in page.text
    assert "rheostat run --job" in page.text
    assert page.figures == {}


def test_a_job_that_never_ran_says_how_to_run_it(empty: Pages) -> None:
    register(empty.service)
    page = empty.get(f"/jobs/{JOB}")
    assert f"rheostat run --job {JOB}" in page.text
    assert "Registered, but never run." in empty.get("/").text


def test_home_shows_the_savings_of_the_api_first(pages: Pages) -> None:
    page = pages.get("/")
    (placement,) = use_cases.savings(pages.service, JOB).placements
    assert f'<data value="{saved(placement.energy_joules)}">' in page.html
    money = saved(placement.energy_joules) / 3.6e6 * 0.25
    assert f'<data value="{money}">' in page.html
    assert re.search(r"less, 95.% between [^,]*, against 1 run of the default, measured", page.text)
    assert page.text.index("Energy saved") < page.text.index("Needs attention") < page.text.index("Running now")
    assert "emissions, set RHEOSTAT_CARBON_GRAMS_PER_KWH" in page.text
    assert "12 runs" not in page.text  # one was cancelled
    assert "11 runs of 1 job" in page.text
    (bars,) = json.loads(page.figures["saved-by-day"])["data"]
    assert sum(bars["y"]) * 1000 == pytest.approx(saved(placement.energy_joules), abs=0.01)


def test_pages_say_what_the_interval_of_the_savings_covers(pages: Pages) -> None:
    for path in ("/", f"/jobs/{JOB}"):
        assert "The 95 % interval covers how many epochs a run of the default needs" in pages.get(path).text


def test_home_lists_jobs_by_a_part_of_their_name(pages: Pages) -> None:
    assert f"/jobs/{JOB}" in pages.get("/?search=GHT").links
    found = pages.get("/?search=%3Cscript%3E")
    assert "<script>" not in found.html
    assert "No job's name has “<script>” in it." in found.text
    assert r"No job's name has “\u202ex” in it." in pages.get("/?search=%E2%80%AEx").text


def test_a_long_list_has_pages(empty: Pages) -> None:
    for number in range(51):
        register(empty.service, f"job-{number:02}")
    first, second = empty.get("/"), empty.get("/?page=2")
    assert ("Page 1 of 2" in first.text, "/jobs/job-49" in first.links) == (True, True)
    assert "/jobs/job-50" in second.links
    assert "/?search=&page=2#jobs" in first.links


def test_jobs_that_are_not_read_in_time_come_with_the_next_page(empty: Pages) -> None:
    for job_id in ("a", "b"):
        register(empty.service, job_id)
    assert "No job is registered yet" not in empty.get("/").text
    assert {"/jobs/a", "/jobs/b"} <= {*empty.get("/").links}


def test_a_job_shows_why_and_what_its_runs_cost(pages: Pages) -> None:
    page = pages.get(f"/jobs/{JOB}")
    latest = use_cases.list_trials(pages.service, JOB, state=None, cursor=None, limit=1).trials[0]
    assert latest.reason.partition(":")[0] in page.text.lower()
    assert set(page.figures) >= {"costs", "arms", "power", "account", "front"}
    estimates = use_cases.estimates(pages.service, JOB).placements[0]
    best = next(arm for arm in estimates.arms if arm.status == "best known")
    assert f"The best known is {best.batch_size} at 200 W" in page.text
    for arm in estimates.arms:
        assert arm.status in page.text
    assert "32 default" in page.text


def test_a_job_shows_what_was_predicted_and_what_it_cost(pages: Pages) -> None:
    page = pages.get(f"/jobs/{JOB}")
    (found,) = review.calibration(pages.service, JOB).placements
    drawn = json.loads(page.figures["calibration"])["data"]
    assert sum(len(trace["x"]) for trace in drawn) == found.converged_runs > 5
    assert f"{found.coverage[1].inside} of {found.converged_runs} runs cost what was predicted" in page.text


def test_before_a_predicted_run_has_ended_the_page_says_so(empty: Pages) -> None:
    register(empty.service)
    predict(empty.service)
    page = empty.get(f"/jobs/{JOB}")
    assert "calibration" not in page.figures
    assert "No run with a predicted cost has reached its target yet." in page.text


def test_the_log_joins_runs_that_were_decided_alike(pages: Pages) -> None:
    page = pages.get(f"/jobs/{JOB}")
    trials = use_cases.list_trials(pages.service, JOB, state=None, cursor=None, limit=100).trials
    assert "runs alike" in page.text
    assert {f"/trials/{trial.trial_id}" for trial in trials} <= set(page.links)


def test_a_trial_shows_its_reports_against_the_best_known(pages: Pages) -> None:
    trials = use_cases.list_trials(pages.service, JOB, state=None, cursor=None, limit=100).trials
    page = pages.get(f"/trials/{trials[-1].trial_id}")
    curve = json.loads(page.figures["curve"])
    reports = review.list_observations(pages.service, trials[-1].trial_id, cursor=None, limit=100).observations
    assert curve["data"][-1]["y"] == [report.metric for report in reports]
    assert len(curve["data"]) == 2
    assert NODE in page.text
    assert NODE not in page.html


def test_what_is_not_there_is_a_page_too(pages: Pages) -> None:
    for path in ("/jobs/none", "/trials/" + "0" * 32):
        page = pages.get(path)
        assert page.answer.status_code == 404
        assert "There is no" in page.text
        assert "/" in page.links


def test_a_page_runs_no_script_but_the_servers_own(pages: Pages) -> None:
    for path in ("/", f"/jobs/{JOB}"):
        page = pages.get(path)
        policy = page.answer.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self';" in policy
        assert "http" not in "".join(page.links)
        for tag in page.html.split("<script")[1:]:
            assert tag.startswith((' src="/assets/', ' type="application/json">'))


def test_only_a_page_with_figures_permits_inline_styles(pages: Pages) -> None:
    for path, has_figures in ((f"/jobs/{JOB}", True), ("/sign-in", False), ("/nodes", False), ("/jobs/none", False)):
        assert ("'unsafe-inline'" in pages.get(path).answer.headers["content-security-policy"]) == has_figures, path


def test_links_stay_under_the_prefix_of_a_proxy(pages: Pages) -> None:
    page = pages.get("/rheostat/", root_path="/rheostat")
    assert all(link.startswith(("/rheostat/", "#")) for link in page.links)
    assert 'data-plotly="/rheostat/assets/plotly.min.js?v=' in page.html


def test_a_running_trial_is_shown_as_it_runs(pages: Pages) -> None:
    page = pages.get("/")
    assert 'data-refresh-seconds="5"' in page.html
    assert NODE in page.text
    assert NODE not in page.html


def test_a_pinned_job_is_noted(empty: Pages) -> None:
    register(empty.service)
    use_cases.pin_job(empty.service, JOB, OrderRequest(batch_size=16)).result()
    predict(empty.service)
    assert "Pinned to batch size 16" in empty.get("/").text


def test_nodes_show_what_their_latest_run_told(pages: Pages, empty: Pages) -> None:
    page = pages.get("/nodes")
    assert f"{NODE} 1 run now V100 100 to 250 W not reported \N{EN DASH} 200 W \N{EN DASH}" in page.text
    assert "metered nightly run 13 running now" in page.text
    assert "No run has reported where it ran yet." in empty.get("/nodes").text


def test_nodes_show_their_agent_and_the_limits_of_each_gpu(empty: Pages) -> None:
    register(empty.service)
    whole = ReportedGpu(
        gpu="GPU-aaaaaaaa-1", found_watts=300.0, ordered_watts=250.0, applied_watts=250.0, enforced_watts=250.0
    )
    gpus = [whole, whole.model_copy(update={"gpu": "GPU-bbbbbbbb-1", "enforced_watts": 187.5})]
    ready = NodeReport(node="n1", agent="ready", version="1.2", energy_source="counter", gpus=gpus)
    refused = NodeReport(node="n2", agent="not_ready", problems=["It needs <root>."])
    trial = predict(empty.service, node="n1")
    done(use_cases.heartbeat(empty.service, trial.trial_id, HeartbeatRequest(nodes=[ready, refused])))
    page = empty.get("/nodes")
    limits = "300 W 300 W 250 W 250 W 250 W 250 W 250 W 187.5 W"
    assert (
        f"n1 1 run now V100 100 to 250 W GPU-aaaaaaaa GPU-bbbbbbbb ready 1.2 {limits} counter nightly run 1"
        in page.text
    )
    assert "not ready" in page.text
    assert "It needs <root>." in page.text
    assert "<root>" not in page.html


def test_a_run_shows_its_tags_and_follows_only_addresses_of_pages(empty: Pages) -> None:
    register(empty.service)
    tags = {"mlflow_run": "https://mlflow.test/#/runs/7?a=1&b=<2>", "team": "<b>vision", "trap": "javascript:alert(1)"}
    trial = predict(empty.service, tags=tags)
    page = empty.get(f"/trials/{trial.trial_id}")
    assert tags["mlflow_run"] in page.links
    assert 'rel="noopener noreferrer"' in page.html
    assert "<b>vision" in page.text
    assert "<b>" not in page.html.partition("<main")[2].partition("Tags")[2].partition("</ul>")[0]
    assert not [link for link in page.links if link.startswith("javascript")]
    by_team = next(link for link in page.links if "team" in link)
    assert f"/trials/{trial.trial_id}" in empty.get(by_team).links


def test_runs_of_a_job_are_found_by_their_tags(empty: Pages) -> None:
    register(empty.service)
    first, other = (predict(empty.service, tags={"mlflow_run": name}) for name in ("run 1", "x" * 256))
    found = empty.get(f"/jobs/{JOB}?tag=mlflow_run%3Drun+1").html.partition('id="log"')[2]
    assert (first.trial_id in found, other.trial_id in found) == (True, False)
    found = empty.get(f"/jobs/{JOB}?tag=mlflow_run%3D{'x' * 256}").html.partition('id="log"')[2]
    assert (first.trial_id in found, other.trial_id in found) == (False, True)
    found = empty.get(f"/jobs/{JOB}?tag=mlflow_run").html.partition('id="log"')[2]
    assert (first.trial_id in found, other.trial_id in found) == (True, True)
    assert "No run has the tag “team=<i>”." in empty.get(f"/jobs/{JOB}?tag=team%3D%3Ci%3E").text
    assert "Write the tag as key=value" in empty.get(f"/jobs/{JOB}?tag=%3D7").text


@pytest.mark.parametrize("path", ["/none", f"/jobs/{JOB}/none", "/trials/a/b"])
def test_a_browser_is_shown_a_page_where_there_is_none(pages: Pages, path: str) -> None:
    page = pages.get(path, headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (page.answer.status_code, page.answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert (f"There is no route GET {path}." in page.text, "/" in page.links) == (True, True)
    assert pages.get(path).answer.json()["code"] == "no_such_route"
    assert pages.get(f"/v1{path}", headers={"accept": "text/html"}).answer.json()["code"] == "no_such_route"


def test_a_browser_that_guesses_tokens_is_shown_a_page(empty: Pages) -> None:
    create_token(empty.service, "viewer", ["read"])
    wrong = {"authorization": f"Bearer {new_token()}", "accept": "text/html"}
    while (page := empty.get("/docs/none", headers=wrong)).answer.status_code == 401:
        assert "The token is not valid" in page.text
    assert (page.answer.status_code, "retry-after" in page.answer.headers) == (429, True)
    assert "too many" in page.text


def test_commands_in_a_text_are_shown_as_such_and_nothing_else_is_markup() -> None:
    template = TEMPLATES.from_string("{{ text | commands }}")
    shown = template.render(text="see <b> in `rheostat run <x>`, \N{RIGHT-TO-LEFT OVERRIDE}`")
    assert shown == r"see &lt;b&gt; in <code>rheostat run &lt;x&gt;</code>, \u202e`"


def test_a_run_of_many_reports_is_drawn_with_some_of_them_from_first_to_last(empty: Pages) -> None:
    register(empty.service, max_epochs=10)
    trial = predict(empty.service)
    report(empty.service, trial, 0.001, metric=0.1, energy_joules=1.0, time_seconds=1.0)
    many = 2500
    empty.service.database.write(
        lambda connection: connection.execute(
            text(
                "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < :many) "
                "INSERT INTO observations (trial_id, epoch, closing, metric, energy_joules, time_seconds, received_at, "
                "answered_state, answered_reason) SELECT trial_id, i / 1000.0, closing, metric, i, i, received_at, "
                "answered_state, answered_reason FROM observations, n"
            ),
            {"many": many},
        )
    )
    page = empty.get(f"/trials/{trial.trial_id}")
    epochs = json.loads(page.figures["curve"])["data"][-1]["x"]
    assert len(epochs) <= MOST_REPORTS + 1
    assert epochs[-1] == many / 1000
    assert "Drawn are 834 of 2 500 reports." in page.text
    assert f"Reports {many} The latest 200." in page.text
    assert "2.5 " in page.text.partition("The latest 200.")[2]


def test_a_job_of_many_runs_says_which_of_them_its_figures_show(empty: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    register(empty.service)
    for _ in range(3):
        converge(empty.service, predict(empty.service), 100.0)
    assert "of the latest" not in empty.get(f"/jobs/{JOB}").text
    monkeypatch.setattr(job_page, "MOST_TRIALS", 2)
    converge(empty.service, predict(empty.service), 100.0)
    page = empty.get(f"/jobs/{JOB}")
    assert "Figures of runs and the decision log are of the latest 2 of 4 runs." in page.text
    assert "account" not in page.figures
