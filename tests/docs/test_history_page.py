"""The command of docs/history.md imports a file with the columns that the page names; that of docs/zeus.md runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import ROOT
from tests.serving import SETTINGS, serving
from tests.waiting import PATIENCE_SECONDS

CELLS = {
    "batch_size": "32",
    "gpu_model": "V100",
    "energy_joules": "21000",
    "time_seconds": "120",
    "epochs": "3",
    "metric": "0.91",
    "curve": "",
    "converged": "true",
    "run": "first",
    "gpu_count": "1",
    "gpu_min_power_limit_watts": "100",
    "gpu_max_power_limit_watts": "250",
    "power_limit_watts": "250",
}


def block(page: str, start: str) -> str:
    text = (ROOT / "docs" / page).read_text()
    (found,) = [each for each in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if start in each]
    return str(found)


def test_runs_of_before_are_imported_and_the_job_moves_to_the_recommender(tmp_path: Path) -> None:
    table = re.findall(r"^\| (`.+?`) \|", (ROOT / "docs" / "history.md").read_text(), re.MULTILINE)
    columns = re.findall(r"`(\w+)`", " ".join(table))
    assert set(columns) == {*CELLS, "job"}  # which stands there instead of the option
    (tmp_path / "history.csv").write_text(f"{','.join(CELLS)}\n{','.join(CELLS.values())}\n")
    script = block("history.md", "--job nightly-finetune\n") + block("zeus.md", "policy=")
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    with serving(url, tmp_path / "log") as server:
        server.client.put("/v1/jobs/nightly-finetune", json=SETTINGS | {"policy": "zeus"}).raise_for_status()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "RHEOSTAT_DATABASE_URL": url,
                "RHEOSTAT_URL": str(server.client.base_url),
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert server.client.get("/v1/jobs/nightly-finetune").json()["settings"]["policy"] == "rheostat"
        (placement,) = server.client.get("/v1/jobs/nightly-finetune/estimates").json()["placements"]
        assert {arm["batch_size"]: arm["runs"] for arm in placement["arms"]}[32] == 1
