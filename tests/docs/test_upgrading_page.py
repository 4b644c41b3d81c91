"""What docs/upgrading.md says is what happens."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import ROOT
from tests.waiting import PATIENCE_SECONDS

PAGE = (ROOT / "docs" / "upgrading.md").read_text()


def test_every_schema_is_in_the_table() -> None:
    released = sorted(path.name[:4] for path in (ROOT / "migrations" / "versions").glob("[0-9]*.py"))
    assert re.findall(r"^\| (\d{4}) \|", PAGE, re.MULTILINE) == released


def test_the_commands_upgrade_and_go_back(tmp_path: Path) -> None:
    (script,) = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    (back,) = re.findall(r"`(rheostat db restore [\w.]+)`", PAGE)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RHEOSTAT_DATABASE_URL": f"sqlite:///{tmp_path / 'rheostat.db'}",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"rheostat db upgrade\n{script}{back}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rheostat.backup").exists()
    assert len(list(tmp_path.glob("rheostat.db.*"))) >= 1
