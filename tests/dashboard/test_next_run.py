"""What trains next, and why: said before anything is decided."""

from datetime import UTC, datetime
from typing import Any

from rheostat.dashboard.views.attention import attention
from rheostat.dashboard.views.next_run import next_run
from rheostat.dashboard.words import sentence
from rheostat.schemas.insight import DefaultAccount, Estimate, Estimates, PlacementEstimates
from rheostat.schemas.trials import Trial
from rheostat.service import review
from tests.dashboard.conftest import Pages
from tests.domain.examples import JOB, V100
from tests.service.examples import converge, measure, predict, register, report

PATH = f"/jobs/{JOB}"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_page_says_what_trains_next_as_predict_then_answers(empty: Pages) -> None:
    register(empty.service, policy="rheostat")
    for _ in range(3):
        trial = predict(empty.service)
        measure(empty.service, trial.batch_size, w250=100.0, w200=90.0)
        converge(empty.service, trial, 400.0)
        page = empty.get(PATH)
        assert empty.get(PATH).text == page.text, "to look at it changes nothing"
        upcoming = predict(empty.service)
        assert f"Next run {upcoming.batch_size} " in page.text
        assert f"as things stand: run {upcoming.number} {' '.join(sentence(upcoming.reason).split())}" in page.text
        assert f"Run {trial.number} , " in page.text[page.text.index("Latest run") :]
        report(empty.service, upcoming, 0, outcome="cancelled")


def test_where_nothing_can_be_said_of_the_next_run_the_page_is_shown_without(empty: Pages) -> None:
    register(empty.service, batch_sizes=[32])
    report(empty.service, predict(empty.service), 0, outcome="oom")
    assert "Next run" not in empty.get(PATH).text


def believed(balance: float, **chances: float) -> PlacementEstimates:
    """Return estimates of a job that knows 32 best, with the chance of each batch size to be the cheapest."""
    statuses = {"s32": "best known", "s64": "converged, 3 % above the best known"}
    arms = []
    for name, chance in chances.items():
        known: dict[str, Any] = {"batch_size": int(name[1:]), "probability_best": chance, "power_limit_watts": 200}
        arms.append(Estimate.model_construct(**known, status=statuses.get(name, "stopped")))
    account = DefaultAccount(
        balance_runs=balance, saved_runs=0.0, spent_runs=-balance, budget_runs=1.0, default_cost=1.0, standing="so far"
    )
    return PlacementEstimates.model_construct(gpu=V100, arms=arms, account=account)


def test_why_what_is_likelier_the_cheapest_does_not_train_next_is_said_with_what_to_do() -> None:
    upcoming = Trial(
        trial_id="", job_id=JOB, number=4, batch_size=32, learning_rate=None, power_limit_watts=200,
        profile_power_limits_watts=[], reason="best known", lease_expires_at=NOW,
    )  # fmt: skip
    held = next_run(upcoming, believed(-2.0, s32=0.24, s128=0.74))
    assert held is not None
    assert "128 is likelier the cheapest" in held.why_not
    assert "0 of 1 (in runs of the default)" in held.why_not
    assert f"`rheostat jobs force {JOB} 128`" in held.why_not
    assert f"`rheostat jobs set {JOB} exploration_budget_runs=2`" in held.why_not
    dearer = next_run(upcoming, believed(0.0, s32=0.4, s64=0.6))
    assert dearer is not None
    assert "its expected cost is higher" in dearer.why_not
    likeliest = next_run(upcoming, believed(0.0, s32=0.8, s64=0.2))
    assert likeliest is not None
    assert likeliest.why_not == ""


def test_a_job_that_is_behind_says_whether_anything_pays_that_back(empty: Pages) -> None:
    register(empty.service, policy="rheostat")
    converge(empty.service, predict(empty.service), 400.0)
    summary = review.job_summary(empty.service, JOB)
    hints = {}
    for name, chances in (("default", {"s32": 1.0}), ("other", {"s64": 1.0})):
        found = believed(-2.0, **chances)
        found = found.model_copy(
            update={"arms": [one.model_copy(update={"status": "best known"}) for one in found.arms]}
        )
        estimates = Estimates.model_construct(job_id=JOB, policy="rheostat", placements=[found])
        found_now = attention(summary.model_copy(update={"estimates": estimates}))
        (hints[name],) = [one.hint for one in found_now if "more than exploring may cost" in one.text]
    assert "32, is the default itself, whose runs pay nothing back" in hints["default"]
    assert "What its runs save pays that back." in hints["other"]
    assert all("exploration_budget_runs=2" in hint for hint in hints.values())
