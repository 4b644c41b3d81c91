"""The server process: which addresses it listens on, and what it refuses to start with."""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rheostat.api.server import _cannot_listen
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


def test_a_port_in_use_says_by_whom_and_what_to_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    with serving(url, tmp_path / "log") as server:
        refusal = _refused("--port", str(server.client.base_url.port), RHEOSTAT_DATABASE_URL=url)
    assert "Cannot listen on 127.0.0.1:" in refusal
    assert "a Rheostat server uses it" in refusal
    assert "--port" in refusal
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        refusal = _refused("--port", str(other.getsockname()[1]), RHEOSTAT_DATABASE_URL=url)
    assert "another program uses it" in refusal


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.EACCES, "Ports below 1024 are for root"), (errno.EADDRNOTAVAIL, "0.0.0.0")]
)
def test_an_address_that_cannot_be_had_has_its_own_remedy(number: int, remedy: str) -> None:
    assert remedy in _cannot_listen("10.0.0.1", 80, OSError(number, os.strerror(number))).hint


def test_the_command_that_makes_a_token_is_for_the_same_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    refusal = _refused("--host", "0.0.0.0", "--port", "0", "--database-url", url)
    command = refusal.partition("Create a token first: rheostat ")[2].partition(". Or")[0]
    operate(url, *command.removesuffix(f" --database-url {url}").split())
    assert command.endswith(f" --database-url {url}")


def test_a_database_that_cannot_be_used_is_the_first_thing_that_is_logged(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rheostat", "serve", "--port", "0", "--database-url"]
    with subprocess.Popen(
        [*command, f"postgresql://nobody@/none?host={tmp_path}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline().startswith("Rheostat listens on")
        run.terminate()
        log = run.communicate(timeout=PATIENCE_SECONDS)[1]
    assert "ERROR requests are answered with 503 until this is mended: " in log
    assert "Does PostgreSQL run" in log
    assert str(tmp_path) in log


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
