import fcntl
import json
from pathlib import Path

import pytest

from rheostat.schemas.fields import Body
from rheostat.schemas.server import ObserveAnswer
from rheostat.sdk import spool as spool_module
from rheostat.sdk.spool import RequestQueue, claimed, spool_directory, spool_files
from rheostat.sdk.transport import HttpRequest

URL = "http://server:8420"


def request(number: int) -> HttpRequest[Body]:
    return HttpRequest(
        "POST", f"/v1/trials/{number}/observe", ObserveAnswer, json.dumps({"epoch": number}), f"key-{number}"
    )


def left_behind(spool: Path, *numbers: int) -> None:
    queue = RequestQueue(URL, spool)
    for number in numbers:
        queue.append(request(number))
    queue.close()


def test_requests_come_out_in_the_order_in_which_they_went_in(spool: Path) -> None:
    queue = RequestQueue(URL, spool)
    for number in range(3):
        queue.append(request(number))
    seen = []
    while queue.first is not None:
        seen.append(queue.first)
        queue.drop_first()
    assert seen == [request(0), request(1), request(2)]


def test_nothing_is_on_disk_unless_something_waits(spool: Path) -> None:
    queue = RequestQueue(URL, spool)
    assert list(spool.iterdir()) == []
    queue.append(request(1))
    assert len(list(spool.iterdir())) == 1
    queue.drop_first()
    assert list(spool.iterdir()) == []
    queue.append(request(2))
    queue.close()
    assert [left.requests for left in spool_files(spool)] == [[request(2)]]


def test_a_killed_runs_file_is_read_up_to_its_last_complete_line(spool: Path) -> None:
    queue = RequestQueue(URL, spool)
    queue.append(request(1))
    queue.append(request(2))
    (path,) = spool.iterdir()
    path.write_bytes(path.read_bytes()[:-9])
    (left,) = spool_files(spool)
    assert (left.url, left.requests) == (URL, [request(1)])
    queue.close()


def test_no_other_process_takes_the_requests_of_a_running_one(spool: Path) -> None:
    queue = RequestQueue(URL, spool)
    queue.append(request(1))
    (left,) = spool_files(spool)
    with claimed(left) as others:
        assert others is None
    queue.close()
    with claimed(left) as others:
        assert others is not None
        assert others.first == request(1)


def test_sent_requests_are_removed_and_the_others_stay(spool: Path) -> None:
    left_behind(spool, 1, 2, 3)
    (left,) = spool_files(spool)
    with claimed(left) as queue:
        assert queue is not None
        queue.drop_first()
    assert spool_files(spool)[0].requests == [request(2), request(3)]
    with claimed(left) as queue:
        assert queue is not None
        queue.drop_first()
        queue.drop_first()
    assert spool_files(spool) == []
    with claimed(left) as queue:
        assert queue is None


def test_the_oldest_runs_are_dropped_when_there_is_no_room(
    spool: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    left_behind(spool, 1)
    (oldest,) = spool.iterdir()
    oldest.rename(spool / "20200101T000000-0.jsonl")
    left_behind(spool, 2)
    monkeypatch.setattr(spool_module, "_MOST_BYTES", 450)  # room for two
    left_behind(spool, 3)
    assert [left.requests for left in spool_files(spool)] == [[request(2)], [request(3)]]
    assert "20200101T000000-0" in caplog.text


def test_without_a_disk_requests_wait_in_memory_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    queue = RequestQueue(URL, tmp_path / "file")
    queue.append(request(1))
    queue.append(request(2))
    assert len(queue) == 2
    assert caplog.text.count("kept in memory only") == 1
    queue.close()


@pytest.mark.parametrize("content", ["", "[]\n", '{"version": 99, "url": "x"}\n', "\x00\xff", "{}"])
def test_an_invalid_file_is_skipped(spool: Path, content: str) -> None:
    spool.mkdir(exist_ok=True)
    (spool / "broken.jsonl").write_text(content)
    left_behind(spool, 1)
    assert [left.requests for left in spool_files(spool)] == [[request(1)]]


def test_only_the_user_can_read_them(tmp_path: Path) -> None:
    queue = RequestQueue(URL, tmp_path / "spool")
    queue.append(request(1))
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    queue.close()


def test_a_lock_ends_with_its_file(spool: Path) -> None:
    left_behind(spool, 1)
    (path,) = spool.iterdir()
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_spool_is_where_the_user_says_or_in_the_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RHEOSTAT_SPOOL_DIR", "/some/where")
    assert spool_directory() == Path("/some/where")
    monkeypatch.delenv("RHEOSTAT_SPOOL_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert spool_directory() == Path("/state/rheostat/spool")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/user")
    assert spool_directory() == Path("/home/user/.local/state/rheostat/spool")


def test_the_format_of_version_1_is_read(spool: Path) -> None:
    spool.mkdir(exist_ok=True)
    line = {
        "method": "POST",
        "path": "/v1/trials/1/observe",
        "body": '{"epoch": 1}',
        "answer": "ObserveAnswer",
        "idempotency_key": "key-1",
    }
    (spool / "20260101T000000-0.jsonl").write_text(f'{{"version": 1, "url": "{URL}"}}\n{json.dumps(line)}\n')
    (left,) = spool_files(spool)
    assert (left.url, left.requests) == (URL, [request(1)])
