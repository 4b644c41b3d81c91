"""The ledger survives the crash of its writer."""

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from rheostat.agent.ledger import Ledger
from rheostat.agent.records import Entry, LeaseRecord, Owner, Terms
from rheostat.errors import ConfigurationError, LedgerFailed

TERMS = Terms("f00d", Owner(pid=42, start_ticks=1234, uid=1000), 60.0, "nightly", None)
ENTRY = Entry("GPU-1", 250_000, (200_000, 175_000), TERMS)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "ledger")
    with ledger.locked():
        pass
    return ledger


def test_what_is_written_is_read_until_it_is_removed(ledger: Ledger) -> None:
    ledger.write(ENTRY)
    assert ledger.read() == {"GPU-1": ENTRY}
    ledger.remove("GPU-1")
    ledger.remove("GPU-1")
    assert ledger.read() == {}


def test_an_entry_is_on_the_disk_before_the_writer_continues(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    fsync, replace = os.fsync, Path.replace

    def traced_fsync(descriptor: int) -> None:
        done.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def traced_replace(path: Path, target: Path) -> Path:
        done.append(f"rename {path.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(Path, "replace", traced_replace)
    ledger.write(ENTRY)
    assert done == ["fsync GPU-1.tmp", "rename GPU-1.tmp", "fsync ledger"]
    done.clear()
    ledger.remove("GPU-1")
    assert done == ["fsync ledger"]


def test_a_full_disk_leaves_the_previous_entry(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.write(ENTRY)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LedgerFailed, match="No space left"):
        ledger.write(Entry("GPU-1", 1, (2,), TERMS))
    assert ledger.read() == {"GPU-1": ENTRY}


def test_a_partial_write_is_no_entry(ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "ledger" / "GPU-1.tmp").write_text('{"version"')
    assert ledger.read() == {}


def changed(directory: Path, **fields: object) -> str:
    """Return the text of the first GPU's entry with other fields, as an entry of the second."""
    return json.dumps({**json.loads((directory / "GPU-1.json").read_text()), "uuid": "GPU-2", **fields})


def test_entries_of_the_first_version_are_read(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write(ENTRY)
    text = changed(tmp_path / "ledger", pending_milliwatts=None, job_id=None)
    (tmp_path / "ledger" / "GPU-2.json").write_text(text)
    assert ledger.read()["GPU-2"] == replace(ENTRY, uuid="GPU-2")


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 99},
        {"uuid": "GPU-3"},
        {"uuid": ["GPU-2"]},
        {"found_milliwatts": "250000"},
        {"found_milliwatts": None},
        {"found_milliwatts": -1},
        {"ours_milliwatts": 200_000},
        {"ours_milliwatts": ["all"]},
        {"terms": None},
        {"terms": {"lease_id": "f00d", "owner": {"pid": 1, "start_ticks": 1, "uid": 0}, "ttl_seconds": 1e300}},
        {"terms": {"lease_id": "f00d", "owner": {"pid": 2**70, "start_ticks": 1, "uid": 0}, "ttl_seconds": 60}},
        {"terms": {"lease_id": "../../etc", "owner": {"pid": 1, "start_ticks": 1, "uid": 0}, "ttl_seconds": 60}},
    ],
)
def test_an_entry_of_the_wrong_shape_is_set_aside(ledger: Ledger, tmp_path: Path, fields: dict[str, object]) -> None:
    ledger.write(ENTRY)
    (tmp_path / "ledger" / "GPU-2.json").write_text(changed(tmp_path / "ledger", **fields))
    assert ledger.read() == {"GPU-1": ENTRY}
    assert (tmp_path / "ledger" / "GPU-2.unreadable").exists()


@pytest.mark.parametrize("content", [b"garbage", b"", b"[]", b"null", b"\xff\xfe", b"[" * 60_000, b" " * 1_000_000])
def test_a_file_that_is_no_entry_is_set_aside_and_reported(ledger: Ledger, tmp_path: Path, content: bytes) -> None:
    ledger.write(ENTRY)
    for _ in range(2):
        (tmp_path / "ledger" / "GPU-2.json").write_bytes(content)
        assert ledger.read() == {"GPU-1": ENTRY}
    assert (tmp_path / "ledger" / "GPU-2.unreadable").read_bytes() == content
    assert [problem.split()[3] for problem in ledger.problems()] == ["GPU-2.unreadable", "GPU-2.unreadable-2"]


def test_what_is_not_a_file_is_set_aside(ledger: Ledger, tmp_path: Path) -> None:
    directory = tmp_path / "ledger"
    (directory / "GPU-1.json").mkdir()
    os.mkfifo(directory / "GPU-2.json")
    (directory / "GPU-3.json").symlink_to("/etc/passwd")
    assert ledger.read() == {}
    assert len(ledger.problems()) == 3


def test_a_file_that_cannot_be_set_aside_is_reported(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path, _target: Path) -> Path:
        raise OSError(errno.EROFS, "Read-only file system")

    (tmp_path / "ledger" / "GPU-2.json").write_text("garbage")
    monkeypatch.setattr(Path, "rename", refuse)
    assert ledger.read() == {}
    assert ["GPU-2.json" in problem for problem in ledger.problems()] == [True]


LEASE = LeaseRecord(("GPU-1", "GPU-2"), TERMS)


def test_leases_are_kept_beside_the_limits_until_they_are_removed(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write_lease(LEASE)
    (tmp_path / "ledger" / "beef.lease").write_text("[]")
    (tmp_path / "ledger" / "cafe.lease").mkdir()
    (tmp_path / "ledger" / "ace.tmp").write_text('{"ver')
    assert (ledger.read_leases(), ledger.read(), ledger.has_entries()) == ([LEASE], {}, False)
    assert not (tmp_path / "ledger" / "beef.lease").exists()
    assert not (tmp_path / "ledger" / "ace.tmp").exists()
    ledger.remove_lease("f00d")
    assert ledger.read_leases() == []


def test_what_was_deleted_is_written_again(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.locked():
        ledger.write(ENTRY)
        ledger.write_lease(LEASE)
        ledger.write(replace(ENTRY, uuid="GPU-2"))
        assert ledger.is_intact()
        shutil.rmtree(tmp_path / "ledger")
        assert not ledger.is_intact()
        ledger.remove("GPU-2")
        ledger.repair()
        assert ledger.is_intact()
        with pytest.raises(ConfigurationError, match="Another agent is running"):
            Ledger(tmp_path / "ledger").locked().__enter__()
    assert (Ledger(tmp_path / "ledger").read(), ledger.read_leases()) == ({"GPU-1": ENTRY}, [LEASE])


def test_a_limit_is_recorded_before_it_is_known_that_the_directory_was_deleted(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.locked():
        shutil.rmtree(tmp_path / "ledger")
        ledger.write(ENTRY)
        assert ledger.is_intact()


def test_the_entries_of_an_agent_that_has_started_since_are_left(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.locked():
        ledger.write(ENTRY)
        shutil.rmtree(tmp_path / "ledger")
        other = Ledger(tmp_path / "ledger")
        with other.locked():
            other.write(ENTRY)
            with pytest.raises(ConfigurationError, match="Another agent has started"):
                ledger.repair()
            with pytest.raises(LedgerFailed, match="Another agent"):
                ledger.write(ENTRY)
            ledger.remove("GPU-1")
            assert other.read() == {"GPU-1": ENTRY}


def test_peeking_changes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write(ENTRY)
    other = json.loads((tmp_path / "ledger" / "GPU-1.json").read_text()) | {"uuid": "GPU-3", "boot_id": "another"}
    (tmp_path / "ledger" / "GPU-2.json").write_text("garbage")
    (tmp_path / "ledger" / "GPU-3.json").write_text(json.dumps(other))
    before = sorted((tmp_path / "ledger").iterdir())
    assert ledger.peek() == [ENTRY]
    assert sorted((tmp_path / "ledger").iterdir()) == before


def test_entries_do_not_survive_a_reboot(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write(ENTRY)
    path = tmp_path / "ledger" / "GPU-1.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot_id": "another"}))
    assert ledger.read() == {}
    assert not path.exists()


def test_two_agents_do_not_share_a_ledger(ledger: Ledger, tmp_path: Path) -> None:
    other = Ledger(tmp_path / "ledger").locked()
    with ledger.locked(), pytest.raises(ConfigurationError, match="Another agent"):
        other.__enter__()


def test_a_name_that_is_not_a_uuid_reaches_no_file(ledger: Ledger) -> None:
    with pytest.raises(LedgerFailed, match="UUID"):
        ledger.remove("../../etc/passwd")


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir(mode=0o777)
    (tmp_path / "ledger").chmod(0o777)
    with pytest.raises(ConfigurationError, match="writable by other users"):
        Ledger(tmp_path / "ledger").locked().__enter__()
