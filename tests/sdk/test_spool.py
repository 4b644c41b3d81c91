import fcntl
import json
from pathlib import Path

import pytest

from rheostat.sdk import spool as spool_module
from rheostat.sdk.spool import Letter, Outbox, spool_directory, taken, waiting

URL = "http://server:8420"


def letter(number: int) -> Letter:
    return Letter("POST", f"/v1/trials/{number}/observe", json.dumps({"epoch": number}), "ObserveAnswer")


def left_behind(spool: Path, *numbers: int) -> None:
    outbox = Outbox(URL, spool)
    for number in numbers:
        outbox.add(letter(number))
    outbox.close()


def test_letters_come_out_in_the_order_in_which_they_went_in(spool: Path) -> None:
    outbox = Outbox(URL, spool)
    for number in range(3):
        outbox.add(letter(number))
    seen = []
    while outbox.first is not None:
        seen.append(outbox.first)
        outbox.drop_first()
    assert seen == [letter(0), letter(1), letter(2)]


def test_nothing_is_on_disk_unless_something_waits(spool: Path) -> None:
    outbox = Outbox(URL, spool)
    assert list(spool.iterdir()) == []
    outbox.add(letter(1))
    assert len(list(spool.iterdir())) == 1
    outbox.drop_first()
    assert list(spool.iterdir()) == []
    outbox.add(letter(2))
    outbox.close()
    assert [left.letters for left in waiting(spool)] == [[letter(2)]]


def test_what_a_killed_run_has_written_is_there_up_to_its_last_whole_line(spool: Path) -> None:
    outbox = Outbox(URL, spool)
    outbox.add(letter(1))
    outbox.add(letter(2))
    (path,) = spool.iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    (left,) = waiting(spool)
    assert (left.url, left.letters) == (URL, [letter(1)])
    outbox.close()


def test_a_run_that_lives_keeps_its_letters_to_itself(spool: Path) -> None:
    outbox = Outbox(URL, spool)
    outbox.add(letter(1))
    (left,) = waiting(spool)
    with taken(left) as others:
        assert others is None
    outbox.close()
    with taken(left) as others:
        assert others is not None
        assert others.first == letter(1)


def test_what_was_sent_is_gone_and_what_was_not_stays(spool: Path) -> None:
    left_behind(spool, 1, 2, 3)
    (left,) = waiting(spool)
    with taken(left) as outbox:
        assert outbox is not None
        outbox.drop_first()
    assert waiting(spool)[0].letters == [letter(2), letter(3)]
    with taken(left) as outbox:
        assert outbox is not None
        outbox.drop_first()
        outbox.drop_first()
    assert waiting(spool) == []
    with taken(left) as outbox:
        assert outbox is None


def test_the_oldest_runs_are_dropped_when_there_is_no_room(
    spool: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    left_behind(spool, 1)
    (oldest,) = spool.iterdir()
    oldest.rename(spool / "20200101T000000-0.jsonl")
    left_behind(spool, 2)
    monkeypatch.setattr(spool_module, "_MOST_BYTES", 200)
    left_behind(spool, 3)
    assert [left.letters for left in waiting(spool)] == [[letter(2)], [letter(3)]]
    assert "20200101T000000-0" in caplog.text


def test_without_a_disk_letters_wait_in_memory_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    outbox = Outbox(URL, tmp_path / "file")
    outbox.add(letter(1))
    outbox.add(letter(2))
    assert len(outbox) == 2
    assert caplog.text.count("wait in memory") == 1
    outbox.close()


@pytest.mark.parametrize("content", ["", "[]\n", '{"version": 99, "url": "x"}\n', "\x00\xff", "{}"])
def test_a_file_that_makes_no_sense_is_passed_over(spool: Path, content: str) -> None:
    spool.mkdir(exist_ok=True)
    (spool / "broken.jsonl").write_text(content)
    left_behind(spool, 1)
    assert [left.letters for left in waiting(spool)] == [[letter(1)]]


def test_letters_are_nobody_elses_to_read(tmp_path: Path) -> None:
    outbox = Outbox(URL, tmp_path / "spool")
    outbox.add(letter(1))
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    outbox.close()


def test_a_lock_ends_with_its_file(spool: Path) -> None:
    left_behind(spool, 1)
    (path,) = spool.iterdir()
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_they_wait_where_the_user_says_or_where_state_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHEOSTAT_SPOOL_DIR", "/some/where")
    assert spool_directory() == Path("/some/where")
    monkeypatch.delenv("RHEOSTAT_SPOOL_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert spool_directory() == Path("/state/rheostat/spool")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert spool_directory() == Path("/home/somebody/.local/state/rheostat/spool")
