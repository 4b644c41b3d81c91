"""Checks of the reports that wait."""

from dataclasses import replace
from pathlib import Path

import pytest

from rheostat.doctor.facts.disk import look_at_spool
from rheostat.doctor.facts.remote import Remote
from rheostat.doctor.facts.store import Store
from rheostat.schemas.trials import ObserveRequest
from rheostat.sdk import spool as spools
from rheostat.sdk.server import observe_request
from rheostat.sdk.spool import RequestQueue
from tests.doctor.machines import found, unprivileged

URL = "http://server:8420"


def wait(directory: Path, reports: int = 2) -> None:
    """Let reports wait for a server."""
    queue = RequestQueue(URL, directory)
    for epoch in range(reports):
        queue.append(observe_request("0" * 32, ObserveRequest(epoch=epoch + 1, metric=0.5)))
    queue.close()


def test_an_empty_spool(spool: Path) -> None:
    assert found("spool", spool=look_at_spool()).found == f"no report waits in {spool}"


def test_reports_that_wait_for_a_server(spool: Path) -> None:
    wait(spool)
    here = found("spool", spool=look_at_spool(), remote=Remote(url=URL, is_rheostat=True))
    assert (here.state, here.found) == ("warning", f"2 reports wait for {URL}")
    assert here.remedy == "Send them: rheostat spool send"


def test_reports_that_wait_for_an_address_at_which_no_server_answers(spool: Path) -> None:
    wait(spool, 1)
    right = "http://127.0.0.1:8420"
    command = "rheostat spool send"
    nowhere = found("spool", spool=look_at_spool())
    assert nowhere.found == f"1 report waits for {URL}"
    assert nowhere.remedy == (
        f"They are sent when it answers. If it has another address: {command} --from {URL} --to ADDRESS"
    )
    for facts in (
        {"remote": Remote(url=right, is_rheostat=True)},
        {"remote": Remote(url=URL), "store": Store(server_url=right)},
    ):
        remedy = found("spool", spool=look_at_spool(), **facts).remedy
        assert remedy.startswith(f"Send them to the server that answers: {command} --from {URL} --to {right}. Or, ")


def test_a_full_spool(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wait(spool)
    size = sum(path.stat().st_size for path in spool.iterdir())
    monkeypatch.setattr("rheostat.doctor.facts.disk.MOST_BYTES", size)
    finding = found("spool", spool=look_at_spool())
    assert (finding.state, "full: 2 reports" in finding.found) == ("problem", True)


def test_a_file_that_cannot_be_read_stays_where_it_is(spool: Path) -> None:
    (spool / "broken.jsonl").write_text("no report\n")
    finding = found("spool", spool=look_at_spool())
    assert (finding.state, "broken.jsonl" in finding.found) == ("warning", True)
    assert [path.name for path in spool.iterdir()] == ["broken.jsonl"]


def test_a_folder_that_may_not_be_written(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHEOSTAT_SPOOL_DIR", str(directory / "state" / "spool"))
    directory.chmod(0o555)
    try:
        with unprivileged():
            finding = found("spool", spool=look_at_spool())
    finally:
        directory.chmod(0o755)
    assert (finding.state, "RHEOSTAT_SPOOL_DIR" in finding.remedy) == ("problem", True)
    assert not (directory / "state").exists()


def test_a_disk_that_is_full(spool: Path) -> None:
    finding = found("spool", spool=replace(look_at_spool(), free_bytes=spools.MOST_BYTES - 1))
    assert (finding.state, finding.remedy) == ("problem", "Make room on that disk.")
