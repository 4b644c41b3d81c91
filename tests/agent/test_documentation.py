"""The examples of docs/agent.md work."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from rheostat.agent.site import load_site
from tests.waiting import PATIENCE_SECONDS, eventually

PAGE = (Path(__file__).parents[2] / "docs" / "agent.md").read_text()


def block(language: str, start: str) -> str:
    (found,) = [text for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if start in text]
    return str(found)


@pytest.mark.skipif(shutil.which("curl") is None, reason="this test needs curl")
def test_the_curl_commands_work_as_written() -> None:
    with TemporaryDirectory(prefix="rheostat-") as directory:
        command = [sys.executable, "-m", "rheostat", "agent", "run", "--simulate", "2", "--runtime-dir", directory]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as agent:
            try:
                eventually((Path(directory) / "agent.sock").exists)
                script = block("sh", "curl").replace("/run/rheostat", directory)
                script = script.replace("sleep 1\n", "sleep 0.1\n")  # a tick is enough
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", script],
                    capture_output=True,
                    text=True,
                    timeout=PATIENCE_SECONDS,
                    check=False,
                )
            finally:
                agent.terminate()
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"requested_watts":150.0,"applied_watts":150.0' in done.stdout
    assert '"source":"counter"' in done.stdout
    assert done.stdout.count('"state":"verified"') == 1  # the heartbeat's answer
    assert done.stdout.rstrip().endswith("}")
    assert '"expires_at":null' in done.stdout


def test_the_site_file_is_valid_as_written(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(block("toml", "group ="))
    path.chmod(0o644)
    site = load_site(path)
    (uuid,) = site.gpus
    assert site.allows_user(uuid, "alice")
    assert not site.allows_user(uuid, "bob")
    assert not site.allows_power_limits(uuid)
