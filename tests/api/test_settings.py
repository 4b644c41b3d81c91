"""Configuration of the server."""

import subprocess
import sys

import pytest

from rheostat.api.settings import load_settings
from rheostat.errors import ConfigurationError


def _refused(*arguments: str, **environment: str) -> str:
    command = [sys.executable, "-m", "rheostat", "serve", *arguments]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    return run.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_only_loopback_addresses_are_served(host: str) -> None:
    assert "loopback" in _refused("--host", host)


def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHEOSTAT_PORT", "http")
    with pytest.raises(ConfigurationError, match="RHEOSTAT_PORT"):
        load_settings()


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHEOSTAT_PORT", "9000")
    assert load_settings().port == 9000
    assert load_settings(port=9001).port == 9001


def test_a_database_that_cannot_be_used_is_refused_with_the_remedy() -> None:
    assert "SQLite or PostgreSQL" in _refused("--database-url", "mysql://localhost/x")
    assert "sqlite:////path" in _refused("--database-url", "sqlite://")
