"""The alerts ask for what servers and agents export. `.ci/check_deployment` checks their grammar."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from rheostat import errors
from rheostat.agent.metrics import exposition
from rheostat.agent.site import Site
from rheostat.agent.states import GuardState
from rheostat.api.metrics import Metrics
from rheostat.api.request_record import RequestRecord
from rheostat.schemas.fields import TrialState
from rheostat.service import Counts
from tests.agent.bench import Bench
from tests.nvml.fake import FakeNvml

ROOT = Path(__file__).parents[2]
GROUPS = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text())["groups"]
RULES = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
README = (ROOT / "deploy" / "README.md").read_text()
SCRAPED = yaml.safe_load(re.findall(r"```yaml\n(rule_files.*?)```", README, re.DOTALL)[0])["scrape_configs"]
JOBS = {scraped["job_name"] for scraped in SCRAPED}


def _page_of_a_server() -> str:
    metrics = Metrics()
    record = RequestRecord("request")
    record.problem = "unavailable"
    for route in ("/readyz", "/v1/jobs/{job_id}/predict", "/v1/trials/{trial_id}/observe"):
        metrics.count("POST", route, 503, 0.1, record)
    return metrics.page(Counts(jobs=1, running_trials=1)).decode()


def _exported(page: str) -> dict[str, set[str]]:
    """Return the labels of each metric."""
    found: dict[str, set[str]] = {}
    for name, labels in re.findall(r"^(rheostat_\w+)(?:\{(.*)\})? ", page, re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r"(\w+)=", labels))
    return found


@pytest.fixture
def exported(fake: FakeNvml, tmp_path: Path) -> dict[str, set[str]]:
    """The labels of every metric that a server or an agent exports."""
    bench = Bench(fake, tmp_path / "ledger", Site())
    try:
        page = exposition(bench.node)
    finally:
        bench.close()
    return {"up": set(), **_exported(_page_of_a_server()), **_exported(page)}


def _codes(of: type[errors.RheostatError]) -> set[str]:
    return {of.code}.union(*map(_codes, of.__subclasses__()))


KNOWN: dict[str, set[str]] = {
    "code": _codes(errors.RheostatError),
    "state": {*GuardState, *get_args(TrialState)},
    "job": JOBS,
    "status": {"500", "503"},
    "route": {
        "/readyz",
        "/healthz",
        "/metrics",
        "/v1/jobs/{job_id}/predict",
        "/v1/trials/{trial_id}/observe",
        "/v1/jobs",
    },
}
"""Values that a label has."""


def test_the_alerts_ask_for_metrics_labels_and_values_that_there_are(exported: dict[str, set[str]]) -> None:
    for rule in RULES.values():
        selectors = re.findall(r"\b((?:rheostat_\w+)|up)\{([^}]*)\}", rule["expr"])
        assert len(selectors) == len(re.findall(r"\brheostat_\w+|\bup\b", rule["expr"])) > 0
        for metric, matchers in selectors:
            assert metric in exported
            for label, operator, value in re.findall(r"(\w+)(=~|!~|!=|=)\"([^\"]*)\"", matchers):
                assert label in exported[metric] | {"job"}, (metric, label)
                matching = [known for known in KNOWN[label] if re.fullmatch(value, known)]
                assert matching if operator[0] == "=" else len(matching) < len(KNOWN[label]), (label, value)
        known = set.union({"instance"}, *(exported[metric] for metric, _ in selectors))
        assert _grouped_by(rule) <= known


def test_an_alert_says_what_is_wrong_and_what_to_do() -> None:
    for rule in RULES.values():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(rule["annotations"]) == {"summary", "description"}
        used = set(re.findall(r"\$labels\.(\w+)", "".join(rule["annotations"].values())))
        is_aggregated = re.match(r"absent|sum|count|histogram_quantile", rule["expr"])
        assert used <= (_grouped_by(rule) if is_aggregated else {"instance", "gpu"}), rule["alert"]


def _grouped_by(rule: dict[str, Any]) -> set[str]:
    return {name for names in re.findall(r"by \(([^)]*)\)", rule["expr"]) for name in re.split(r",\s*", names)}


def test_the_alerts_of_agents_and_servers_each_ask_their_own_job() -> None:
    for group in GROUPS:
        for rule in group["rules"]:
            assert set(re.findall(r'job="([^"]*)"', rule["expr"])) == {group["name"].replace("-server", "")}


def test_the_alerts_are_on_the_scrape_jobs_that_the_page_shows() -> None:
    assert {job for rule in RULES.values() for job in re.findall(r'job="([^"]*)"', rule["expr"])} == JOBS
    port = next(target for scraped in SCRAPED for target in scraped["static_configs"][0]["targets"] if "127." in target)
    unit = (ROOT / "deploy" / "systemd" / "metrics.conf").read_text()
    assert f"--metrics-port {port.partition(':')[2]}\n" in unit
