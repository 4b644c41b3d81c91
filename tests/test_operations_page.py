"""What the page for operators says is what happens."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text()


def _block(start: str) -> str:
    (block,) = [text for text in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if text.startswith(start)]
    return str(block)


def test_the_commands_about_tokens_and_copies_run_as_they_stand(tmp_path: Path) -> None:
    script = _block("rheostat token create") + _block("rheostat db backup")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RHEOSTAT_DATABASE_URL": f"sqlite:///{tmp_path / 'rheostat.db'}",
    }
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "vision-ci\ttrainer+read\tnamespace vision" in run.stdout
    assert (tmp_path / "rheostat.backup").exists()
    assert "deleted 0 reports" in run.stdout
