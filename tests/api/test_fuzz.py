"""A fuzzer that is driven by the server's own OpenAPI document finds no failure."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import Serving


@pytest.mark.timeout(300)
def test_no_request_makes_the_server_fail(server: Serving, tmp_path: Path) -> None:
    """Run schemathesis, its links between operations included.

    `positive_data_acceptance` is left out: that a range's ends must not be swapped, or that a default must be one of
    the candidates, no JSON schema can say, and a fuzzer takes the refusal for a fault.
    """
    document = f"{str(server.client.base_url).rstrip('/')}/openapi.json"
    command = [str(Path(sys.executable).parent / "schemathesis"), "run", document]
    command += ["--exclude-checks", "positive_data_acceptance", "--max-examples", "12", "--seed", "1", "--no-color"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert run.returncode == 0, run.stdout[-5000:]
    assert "Tested: 17" in run.stdout
    assert "Traceback" not in server.log()
