"""The server process: which addresses it listens on, and what it refuses to start with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import make_token, operate, serving
from tests.waiting import PATIENCE_SECONDS


def _refused(*arguments: str, **environment: str) -> str:
    command = [sys.executable, "-m", "rheostat", "serve", *arguments]
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    return run.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_without_tokens_only_loopback_addresses_are_served(host: str, tmp_path: Path) -> None:
    refusal = _refused("--host", host, RHEOSTAT_DATABASE_URL=f"sqlite:///{tmp_path / 'rheostat.db'}")
    assert "loopback only" in refusal
    assert "rheostat token create" in refusal


def test_a_revoked_token_does_not_allow_other_addresses(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    operate(url, "token", "revoke", make_token(url, "former").split("_")[1])
    assert "loopback only" in _refused("--host", "0.0.0.0", RHEOSTAT_DATABASE_URL=url)


def test_settings_that_are_wrong_are_one_line_without_a_traceback() -> None:
    refusal = _refused("--port", "8420", RHEOSTAT_LEASE_SECONDS="soon", RHEOSTAT_LOG_LEVEL="loud")
    assert refusal.startswith("rheostat: 2 settings are wrong: ")
    assert refusal.count("\n") == 1


def test_an_address_in_use_is_refused_with_the_remedy(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    with serving(url, tmp_path / "log") as server:
        refusal = _refused("--port", str(server.client.base_url.port), RHEOSTAT_DATABASE_URL=url)
    assert "Cannot listen on 127.0.0.1:" in refusal
    assert "--port" in refusal


def test_a_misspelt_variable_is_logged_and_does_not_stop_the_server(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    with serving(url, tmp_path / "log", RHEOSTAT_LEASE_SECOND="1", RHEOSTAT_RATE_LIMIT_PER_SECOND="10") as server:
        assert server.log().count("did you mean RHEOSTAT_LEASE_SECONDS?") == 1


def test_authentication_is_required_while_the_database_cannot_be_asked_for_tokens(tmp_path: Path) -> None:
    """A PostgreSQL that starts later than its server is a reason neither to be open nor to refuse to start."""
    environment = {**os.environ, "RHEOSTAT_HOST": "0.0.0.0"}
    url = f"postgresql://nobody@/none?host={tmp_path}"
    command = [sys.executable, "-m", "rheostat", "serve", "--port", "0", "--database-url", url]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline().startswith("Rheostat listens on http://0.0.0.0:")
        run.terminate()
        assert "authentication is required in any case" in run.communicate(timeout=PATIENCE_SECONDS)[1]
