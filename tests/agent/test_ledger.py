"""The ledger survives the crash of its writer."""

import errno
import json
import os
from pathlib import Path

import pytest

from rheostat.agent.ledger import Entry, Ledger, Owner, Terms
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


def test_an_unreadable_file_is_set_aside(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write(ENTRY)
    (tmp_path / "ledger" / "GPU-2.json").write_text("garbage")
    assert ledger.read() == {"GPU-1": ENTRY}
    assert (tmp_path / "ledger" / "GPU-2.unreadable").read_text() == "garbage"
    assert ledger.unreadable() == ["GPU-2.unreadable"]


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
