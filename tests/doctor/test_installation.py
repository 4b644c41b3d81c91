"""Checks of what is installed."""

import pytest

from rheostat.doctor.facts.installation import Installation, look_at_installation
from rheostat.doctor.facts.store import Store
from tests.doctor.machines import found


def test_what_is_installed_here() -> None:
    here = look_at_installation()
    assert list(here.extras) == ["server", "agent", "demo"]
    assert here.extras["server"]
    assert found("extras", installation=here).found.startswith("installed: server")
    assert found("versions", installation=here).found.startswith(f"Rheostat {here.version} on Python 3.")


def test_an_installation_for_a_trainer() -> None:
    bare = Installation(extras={"server": False, "agent": False, "demo": False})
    finding = found("extras", installation=bare)
    assert (finding.state, "enough for a trainer; more: pip install 'rheostat[server]'" in finding.found) == (
        "ok",
        True,
    )


def test_a_misspelt_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHEOSTAT_ULR", "http://server:8420")
    finding = found("settings", installation=look_at_installation())
    assert (finding.state, finding.remedy) == ("warning", "Rename it.")


def test_a_misspelt_variable_of_the_server() -> None:
    finding = found("settings", store=Store(unknown_variables=("unknown setting RHEOSTAT_PROT; did you mean it?",)))
    assert (finding.state, "RHEOSTAT_PROT" in finding.found) == ("warning", True)


@pytest.mark.parametrize(
    ("here", "state"),
    [
        (Installation(release="6.1.0"), "ok"),
        (Installation(release="5.15.167.4-microsoft-standard-WSL2"), "warning"),
        (Installation(system="Darwin", release="24.0"), "warning"),
    ],
)
def test_the_system(here: Installation, state: str) -> None:
    assert found("system", installation=here).state == state
