"""The shell script: a whole run by curl, on a server with tokens, and without a server."""

from pathlib import Path

import httpx

from tests.examples.runs import run_example
from tests.serving import make_token, migrate, serving


def test_a_run_is_registered_predicted_and_reported_until_it_is_at_its_target(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path / 'rheostat.db'}"
    migrate(database)
    token = make_token(database, "trainer", "--scope", "trainer", "--scope", "read")
    with serving(database, tmp_path / "log") as server:
        url = str(server.client.base_url).rstrip("/")
        ran = run_example("sh", "curl.sh", url=url, RHEOSTAT_TOKEN=token)
        assert (ran.returncode, ran.stderr) == (0, "")
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.get(f"{url}/v1/jobs/curl-example/trials", headers=headers, trust_env=False)
        (trial,) = answer.raise_for_status().json()["trials"]
        assert (trial["state"], trial["epochs"], trial["metric"]) == ("converged", 3, 0.9)
        first, *evaluations, savings = ran.stdout.splitlines()
        assert first == f"batch size 64: {trial['reason']}"
        assert [line.split()[-1] for line in evaluations] == ["continue", "continue", "stop"]
        assert '"converged_runs":1' in savings
        refused = run_example("sh", "curl.sh", url=url)
        assert "oken" in refused.stderr
        assert refused.stdout.startswith("batch size 64: the default")


def test_without_a_server_it_trains_with_the_default_and_says_so() -> None:
    ran = run_example("sh", "curl.sh")
    (line,) = ran.stderr.splitlines()
    assert "rheostat serve" in line
    assert ran.stdout.splitlines()[0] == "batch size 64: the default, since the server gave no other"
    assert ran.returncode == 0
