"""What the page about plain HTTP says is what happens: each of its commands is run."""

import re
import subprocess
from pathlib import Path

from rheostat.schemas.trials import ObserveRequest
from tests.serving import serving
from tests.waiting import PATIENCE_SECONDS

PAGE = (Path(__file__).parents[1] / "docs" / "http.md").read_text()


def _block(language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(block)


def test_the_commands_run_from_register_to_savings(tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path / 'rheostat.db'}", tmp_path / "log") as server:
        script = _block("sh").replace("http://127.0.0.1:8420", str(server.client.base_url).rstrip("/"))
        run = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert '"action":"stop"' in run.stdout
        assert run.stdout.count('"job_id":"nightly-finetune"') >= 3


def test_the_end_of_a_run_is_a_report_that_the_server_takes() -> None:
    report = ObserveRequest.model_validate_json(_block("json"))
    assert (report.outcome, report.detail) == ("cancelled", "preempted")
