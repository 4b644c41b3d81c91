"""Settings of the server: where they come from, and what is said about wrong ones."""

from pathlib import Path

import pytest

from rheostat.api.settings import load_settings, unknown_variables
from rheostat.errors import ConfigurationError


def test_every_mistake_is_reported_with_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "rheostat.toml"
    config.write_text('lease_secnds = 60\nmax_body_bytes = 5\nlog_format = "xml"\n')
    monkeypatch.setenv("RHEOSTAT_CONFIG", str(config))
    monkeypatch.setenv("RHEOSTAT_PORT", "http")
    monkeypatch.setenv("RHEOSTAT_DATABASE_PASSWORD_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError) as refusal:
        load_settings(lease_seconds=0)
    message = str(refusal.value)
    assert message.startswith("6 settings are wrong: ")
    for place in (
        f"lease_secnds in {config}: unknown setting; did you mean lease_seconds?",
        f"max_body_bytes in {config}: ",
        f"log_format in {config}: ",
        "RHEOSTAT_PORT: ",
        "--lease-seconds: ",
        f"RHEOSTAT_DATABASE_PASSWORD_FILE: {tmp_path / 'none'} cannot be read",
    ):
        assert message.count(place) == 1, message


def test_options_take_precedence_over_the_environment_and_that_over_the_file(
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


def test_secrets_come_from_files_and_are_never_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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


def test_a_secret_of_the_wrong_type_is_not_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "rheostat.toml"
    config.write_text("database_password = 987654\n")
    monkeypatch.setenv("RHEOSTAT_CONFIG", str(config))
    with pytest.raises(ConfigurationError, match=r"database_password in .*: Input should be a valid string") as refusal:
        load_settings()
    assert "987654" not in str(refusal.value)


def test_a_secret_file_takes_precedence_over_the_configuration_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config, secret = tmp_path / "rheostat.toml", tmp_path / "url"
    config.write_text('database_url = "postgresql://config/rheostat"\n')
    secret.write_text("postgresql://secret/rheostat\n")
    monkeypatch.setenv("RHEOSTAT_CONFIG", str(config))
    assert load_settings().database_url == "postgresql://config/rheostat"
    monkeypatch.setenv("RHEOSTAT_DATABASE_URL_FILE", str(secret))
    assert load_settings().database_url == "postgresql://secret/rheostat"
    assert load_settings(database_url="sqlite://").database_url == "sqlite://"


def test_a_variable_that_is_not_a_setting_does_not_stop_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among them those of clients and agents on the same machine, and of settings that were removed."""
    monkeypatch.setenv("RHEOSTAT_RATE_LIMIT_PER_SECOND", "10")
    monkeypatch.setenv("RHEOSTAT_TOKEN", "x")
    assert load_settings().port == 8420


def test_the_variable_that_kubernetes_sets_for_a_service_of_that_name_is_recognised(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RHEOSTAT_PORT", "tcp://10.0.0.1:8420")
    with pytest.raises(ConfigurationError, match="enableServiceLinks: false"):
        load_settings()


def test_a_misspelt_variable_is_reported_and_those_of_clients_are_not() -> None:
    unknown = {"RHEOSTAT_LEASE_SECOND": "1", "RHEOSTAT_TOKEN": "x", "RHEOSTAT_AGENT_DIR": "x", "RHEOSTAT_URL": "x"}
    (message,) = unknown_variables(unknown | {"RHEOSTAT_PORT": "1", "RHEOSTAT_CONFIG": "x", "HOME": "x"})
    assert message == "unknown setting RHEOSTAT_LEASE_SECOND; did you mean RHEOSTAT_LEASE_SECONDS?"
