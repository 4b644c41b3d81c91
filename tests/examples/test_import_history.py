"""Past runs of a spreadsheet: sent once, and what the first run of the job begins with."""

import sys
from pathlib import Path

from tests.examples.runs import run_example
from tests.serving import serving

GPU = {"model": "Tesla V100-SXM2-32GB"}
COMMAND = (sys.executable, "import_history.py", "past_runs.csv", "--gpu", GPU["model"])


def test_the_first_run_begins_with_what_the_table_says(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log") as server:
        for _ in range(2):
            ran = run_example(*COMMAND, url=str(server.client.base_url))
            assert ran.returncode == 0, ran.stderr
            # Those that reached the target: the run at 512 did not.
            assert "batch size 128: 2 runs, 16." in ran.stdout
            assert "batch size 512: 1 runs" in ran.stdout
        (placement,) = server.client.get("/v1/jobs/weekly-retrain/estimates").json()["placements"]
        assert {arm["batch_size"]: arm["runs"] for arm in placement["arms"] if arm["runs"]} == {
            64: 2,
            128: 2,
            256: 1,
            512: 1,
        }
        trial = server.client.post("/v1/jobs/weekly-retrain/predict", json={"gpu": GPU}).raise_for_status().json()
        assert trial["batch_size"] == 128, trial["reason"]


def test_without_a_server_it_says_so_in_a_line() -> None:
    ran = run_example(*COMMAND)
    (line,) = ran.stderr.splitlines()
    assert "Is the server running" in line
    assert ran.returncode == 1
