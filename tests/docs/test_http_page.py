"""The commands of docs/http.md run on a real server."""

import re
import subprocess
from pathlib import Path

from tests.docs.pages import ROOT
from tests.serving import serving
from tests.waiting import PATIENCE_SECONDS

BLOCKS = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "http.md").read_text(), re.DOTALL)


def test_the_commands_train_a_run_to_its_target(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log") as server:
        script = "".join(BLOCKS).replace("http://127.0.0.1:8420", str(server.client.base_url).rstrip("/"))
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
        assert done.returncode == 0, done.stderr
        assert "training with batch size 64" in done.stdout
        (trial,) = server.client.get("/v1/jobs/nightly-curl/trials").json()["trials"]
        assert (trial["state"], trial["epochs"]) == ("converged", 2.0)
        (curves,) = server.client.get("/v1/jobs/nightly-curl/power").json()["placements"]
        assert curves["curves"][0]["points"][0]["power_limit_watts"] == 250
