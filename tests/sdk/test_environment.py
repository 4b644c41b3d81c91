"""Misspelt environment variables of the client."""

import logging

import pytest

from rheostat import Client
from rheostat.api.settings import Settings
from rheostat.sdk import environment
from rheostat.sdk.environment import VARIABLES, misspelt
from rheostat.sdk.node_agent import NodeAgent


def test_a_misspelt_variable_is_told_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    environment.warn_of_misspelt_variables.cache_clear()
    monkeypatch.setenv("RHEOSTAT_ULR", "http://127.0.0.1:1")
    for _ in range(2):
        Client().close()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == ["The variable RHEOSTAT_ULR is unknown; is RHEOSTAT_URL meant?"]
    environment.warn_of_misspelt_variables.cache_clear()


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RHEOSTAT_AGENTDIR", "RHEOSTAT_AGENT_DIR"),
        ("RHEOSTAT_TOKENS", "RHEOSTAT_TOKEN"),
        ("RHEOSTAT_ANSWER_SECOND", "RHEOSTAT_ANSWER_SECONDS"),
    ],
)
def test_the_variable_that_is_meant_is_named(name: str, meant: str) -> None:
    assert misspelt({name: "x"}) == {name: meant}


def test_the_variables_of_client_and_server_are_none() -> None:
    names = {*VARIABLES, *(f"RHEOSTAT_{name.upper()}" for name in Settings.model_fields), "RHEOSTAT_CONFIG"}
    names |= {"RHEOSTAT_DATABASE_URL_FILE", "RHEOSTAT_DATABASE_PASSWORD_FILE", "RHEOSTATS_URL", "PATH"}
    assert misspelt(dict.fromkeys(names, "x")) == {}


def test_an_empty_directory_of_the_agent_is_none_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHEOSTAT_AGENT_DIR", "")
    with NodeAgent() as agent:
        assert (agent.is_named, str(agent.socket)) == (False, "/run/rheostat/agent.sock")
