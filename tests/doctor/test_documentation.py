"""The page about the doctor shows what it prints, and names every check."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from rheostat.agent.nvml import NvmlDriver
from rheostat.doctor.examination import CHECKS
from rheostat.doctor.facts.disk import Spool
from rheostat.doctor.facts.gpus import look_at_gpus
from rheostat.doctor.facts.installation import Installation
from rheostat.doctor.facts.node import look_at_node
from rheostat.doctor.facts.remote import look_at_server
from rheostat.doctor.facts.store import Store
from rheostat.doctor.machine import Machine
from rheostat.doctor.text import as_text
from tests.agent.bench import Served
from tests.doctor.machines import OURS, answering

PAGE = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
HERE = Installation(
    version="0.1.0", python="3.12.3", release="6.8.0", extras={"server": False, "agent": True, "demo": False}
)
SPOOL = Spool(Path("/home/alice/.local/state/rheostat/spool"), waiting={"http://rheostat:8420": 2})
WRONG_TOKEN = {
    "type": "urn:rheostat:token_invalid",
    "title": "Token invalid",
    "status": 401,
    "detail": "The token is not valid.",
    "code": "token_invalid",
    "retryable": False,
}


def test_the_sample_is_what_is_printed(served: Served, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NvmlDriver, "may_set_limits", lambda _: True)
    served.gpus[1].limit_watts = 200
    with answering({**OURS, f"/v1/trials/{'0' * 32}/heartbeat": (401, WRONG_TOKEN)}) as url:
        remote = replace(
            look_at_server(url), url="http://rheostat:8420", is_named=True, is_local=False, version="0.1.0"
        )
        machine = Machine(HERE, look_at_gpus(), look_at_node(directory), remote, Store(), SPOOL)
    printed = as_text([check(machine) for _, check in CHECKS])
    (sample,) = re.findall(r"```text\n(.*?)\n```", PAGE, re.DOTALL)
    assert _steady(printed) == _steady(sample)


def _steady(text: str) -> str:
    """Return the text without what differs from one look to the next."""
    return re.sub(r"\d+ power samples", "119 power samples", text)


def test_every_check_has_a_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.partition("## The checks")[2], re.MULTILINE)
    assert rows == [check.__name__ for _, check in CHECKS]
