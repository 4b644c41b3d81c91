"""The command that a message names installs an extra of what is installed here."""

import json
import sys
from pathlib import Path

import pytest

from rheostat import extras


class Installed:
    """What pip recorded of an installation."""

    def __init__(self, recorded: dict[str, object] | None) -> None:
        self._recorded = recorded

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return None if self._recorded is None else json.dumps(self._recorded)


@pytest.mark.parametrize(
    ("name", "more", "option"),
    [
        ("a checkout", {"dir_info": {"editable": True}}, "--editable "),
        ("a checkout", {"dir_info": {}}, ""),
        ("rheostat-1.whl", {"archive_info": {}}, ""),
    ],
)
def test_an_extra_comes_from_where_rheostat_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, more: dict[str, object], option: str
) -> None:
    source = tmp_path / name
    source.mkdir()
    monkeypatch.setattr(extras, "distribution", lambda _: Installed({"url": source.as_uri(), **more}))
    assert extras.install_command("server") == f"{sys.executable} -m pip install {option}'{source}[server]'"


@pytest.mark.parametrize("recorded", [None, {"url": "file:///gone"}, {"url": "https://example.org/rheostat.whl"}])
def test_an_extra_comes_from_the_index_where_no_file_is_known(
    monkeypatch: pytest.MonkeyPatch, recorded: dict[str, object] | None
) -> None:
    monkeypatch.setattr(extras, "distribution", lambda _: Installed(recorded))
    assert extras.install_command("agent").endswith("-m pip install 'rheostat[agent]'")
