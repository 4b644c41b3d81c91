"""A fuzzer that is driven by the server's own OpenAPI document finds no failure."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import make_token, serving


@pytest.mark.timeout(300)
def test_no_request_makes_the_server_fail(tmp_path: Path) -> None:
    """Run schemathesis with a token, its links between operations included, on a server that asks for tokens.

    That tokens are needed where the document says so is one of its checks. `positive_data_acceptance` is left out:
    that a range's ends must not be swapped, or that a default must be one of the candidates, no JSON schema can say,
    and a fuzzer takes the refusal for a fault.
    """
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    token = make_token(url, "fuzzer", "--scope", "admin")
    with serving(url, tmp_path / "log", RHEOSTAT_HOST="0.0.0.0", RHEOSTAT_RATE_LIMIT_PER_SECOND="0") as server:
        document = f"{str(server.client.base_url).rstrip('/')}/openapi.json"
        command = [str(Path(sys.executable).parent / "schemathesis"), "run", document]
        command += ["--header", f"Authorization: Bearer {token}", "--no-color"]
        command += ["--exclude-checks", "positive_data_acceptance", "--max-examples", "12", "--seed", "1"]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
        assert run.returncode == 0, run.stdout[-5000:]
        assert "Tested: 19" in run.stdout
        assert "Traceback" not in server.log()
        assert token not in server.log()
