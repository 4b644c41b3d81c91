"""Configuration of the server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rheostat.api.settings import load_settings, unknown_variables
from rheostat.errors import ConfigurationError
from tests.serving import make_token, operate


def _refused(*arguments: str, **environment: str) -> str:
    command = [sys.executable, "-m", "rheostat", "serve", *arguments]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 1
    assert "Traceback" not in run.stderr
    return run.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_without_tokens_only_loopback_addresses_are_served(host: str, tmp_path: Path) -> None:
    refusal = _refused("--host", host, RHEOSTAT_DATABASE_URL=f"sqlite:///{tmp_path / 'rheostat.db'}")
    assert "loopback only" in refusal
    assert "rheostat token create" in refusal


def test_a_token_that_is_no_longer_valid_opens_no_address(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rheostat.db'}"
    operate(url, "token", "revoke", make_token(url, "former").split("_")[1])
    assert "loopback only" in _refused("--host", "0.0.0.0", RHEOSTAT_DATABASE_URL=url)


def test_every_mistake_is_named_with_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "rheostat.toml"
    config.write_text('lease_secnds = 60\nmax_body_bytes = 5\nlog_format = "xml"\n')
    monkeypatch.setenv("RHEOSTAT_CONFIG", str(config))
    monkeypatch.setenv("RHEOSTAT_PORT", "http")
    monkeypatch.setenv("RHEOSTAT_DATABASE_PASSWORD_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError) as refusal:
        load_settings(lease_seconds=0)
    told = str(refusal.value)
    assert told.startswith("6 settings are wrong: ")
    for place in (
        f"lease_secnds in {config} is no setting; is lease_seconds meant?",
        f"max_body_bytes in {config}: ",
        f"log_format in {config}: ",
        "RHEOSTAT_PORT: ",
        "--lease-seconds: ",
        f"RHEOSTAT_DATABASE_PASSWORD_FILE: {tmp_path / 'none'} cannot be read",
    ):
        assert told.count(place) == 1, told


def test_options_win_over_the_environment_and_that_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "rheostat.toml"
    config.write_text('port = 9000\nhost = "::1"\nallowed_hosts = ["a", "b"]\nlease_seconds = 60\n')
    monkeypatch.setenv("RHEOSTAT_CONFIG", str(config))
    assert (load_settings().port, load_settings().host) == (9000, "::1")
    assert load_settings().allowed_hosts == ["a", "b"]
    monkeypatch.setenv("RHEOSTAT_PORT", "9001")
    monkeypatch.setenv("RHEOSTAT_LEASE_SECONDS", "")
    monkeypatch.setenv("RHEOSTAT_ALLOWED_HOSTS", "c,d")
    assert (load_settings().port, load_settings().lease_seconds) == (9001, 60)
    assert load_settings().allowed_hosts == ["c", "d"]
    assert load_settings(port=9002).port == 9002


@pytest.mark.parametrize("content", ["port = ", "port 9000", "[server\n", "\0"])
def test_a_file_that_cannot_be_read_is_one_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str) -> None:
    config = tmp_path / "rheostat.toml"
    monkeypatch.setenv("RHEOSTAT_CONFIG", str(config))
    with pytest.raises(ConfigurationError, match=r"RHEOSTAT_CONFIG: .* cannot be read"):
        load_settings()
    config.write_text(content)
    with pytest.raises(ConfigurationError, match=r"RHEOSTAT_CONFIG: .* is not TOML"):
        load_settings()


def test_secrets_come_from_files_and_are_told_to_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, content in (("url", "postgresql://rheostat@db/rheostat\n"), ("password", "hunter2\n")):
        (tmp_path / name).write_text(content)
        monkeypatch.setenv(f"RHEOSTAT_DATABASE_{name.upper()}_FILE", str(tmp_path / name))
    settings = load_settings()
    assert settings.database_url == "postgresql://rheostat@db/rheostat"
    assert settings.database_password is not None
    assert settings.database_password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings)
    monkeypatch.setenv("RHEOSTAT_DATABASE_PASSWORD", "hunter3")
    with pytest.raises(ConfigurationError, match="both set") as refusal:
        load_settings()
    assert "hunter" not in str(refusal.value)


def test_the_variable_that_kubernetes_sets_for_a_service_of_that_name_is_recognised() -> None:
    told = _refused(RHEOSTAT_PORT="tcp://10.0.0.1:8420")
    assert "enableServiceLinks: false" in told


def test_a_misspelt_variable_is_told_and_those_of_others_are_not() -> None:
    strange = {"RHEOSTAT_LEASE_SECOND": "1", "RHEOSTAT_TOKEN": "x", "RHEOSTAT_AGENT_DIR": "x", "RHEOSTAT_URL": "x"}
    (told,) = unknown_variables(strange | {"RHEOSTAT_PORT": "1", "RHEOSTAT_CONFIG": "x", "HOME": "x"})
    assert told == "RHEOSTAT_LEASE_SECOND is no setting; is RHEOSTAT_LEASE_SECONDS meant?"


def test_a_database_that_cannot_be_used_is_refused_with_the_remedy() -> None:
    assert "SQLite or PostgreSQL" in _refused("--database-url", "mysql://localhost/x")
    assert "sqlite:////path" in _refused("--database-url", "sqlite://")


def test_nobody_is_served_without_a_token_where_it_is_not_known_whether_there_are_any(tmp_path: Path) -> None:
    """A PostgreSQL that comes later than its server is no reason to be open, nor to refuse to start."""
    environment = {**os.environ, "RHEOSTAT_HOST": "0.0.0.0"}
    url = f"postgresql://nobody@/none?host={tmp_path}"
    command = [sys.executable, "-m", "rheostat", "serve", "--port", "0", "--database-url", url]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline().startswith("Rheostat listens on http://0.0.0.0:")
        run.terminate()
        assert "nobody is served without one" in run.communicate(timeout=30)[1]
