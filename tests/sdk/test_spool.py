import fcntl
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rheostat.schemas.fields import Body
from rheostat.schemas.trials import ObserveAnswer
from rheostat.sdk import spool as spool_module
from rheostat.sdk.exchange import HttpRequest
from rheostat.sdk.spool import RequestQueue, claimed, spool_directory, spool_files

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


def test_a_child_that_outlives_its_parent_does_not_keep_the_requests(spool: Path) -> None:
    queue = RequestQueue(URL, spool)
    queue.append(request(1))
    (is_forked, tell), (may_end, end) = os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        os.write(tell, b"x")
        os.read(may_end, 1)
        os._exit(0)
    os.read(is_forked, 1)
    try:
        (left,) = spool_files(spool)
        with claimed(left) as others:
            assert others is None
        queue.let_go()  # as a kill does
        with claimed(left) as others:
            assert others is not None
    finally:
        os.write(end, b"x")
        os.waitpid(child, 0)


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


def test_a_run_that_ends_while_it_sends_has_not_sent_for_nothing(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "_SENT_PER_REWRITE", 2)
    left_behind(spool, 1, 2, 3, 4)
    (left,) = spool_files(spool)
    with claimed(left) as queue:
        assert queue is not None
        for _ in range(3):
            queue.drop_first()
        assert spool_files(spool)[0].requests == [request(3), request(4)]


def test_the_oldest_runs_are_dropped_when_there_is_no_room(
    spool: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    left_behind(spool, 1)
    (oldest,) = spool.iterdir()
    oldest.rename(spool / "20200101T000000-0.jsonl")
    left_behind(spool, 2)
    monkeypatch.setattr(spool_module, "MOST_BYTES", 450)  # room for two
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


@pytest.mark.parametrize("content", [b"", b"[]\n", b"\x00\xff", b"{}"])
def test_an_unreadable_file_is_set_aside(spool: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (spool / "0.jsonl").write_bytes(content)
    left_behind(spool, 1)
    assert [left.requests for left in spool_files(spool)] == [[request(1)]]
    assert (spool / "0.unreadable").read_bytes() == content
    assert "0.unreadable" in caplog.text


def test_a_file_of_another_version_stays(spool: Path) -> None:
    (spool / "0.jsonl").write_text('{"version": 99, "url": "x"}\n')
    left_behind(spool, 1)
    assert [left.requests for left in spool_files(spool)] == [[request(1)]]
    assert (spool / "0.jsonl").exists()


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b"7",
        b"{}",
        b'{"method": "POST", "path": "/v1/x", "body": null, "answer": "Unheard", "idempotency_key": null}',
        b'{"method": "POST", "path": 7, "body": null, "answer": "ObserveAnswer", "idempotency_key": null}',
        b'{"method": "POST", "path": "/v1/x", "body": 7, "answer": "ObserveAnswer", "idempotency_key": null}',
        b'{"method": "POST", "path": "/v1/x", "body": null, "answer": "ObserveAnswer", "idempotency_key": "a\\nb"}',
    ],
    ids=["no text", "a number", "no fields", "answer", "path", "body", "key"],
)
def test_an_unreadable_request_is_set_aside_and_holds_up_no_other(
    spool: Path, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    left_behind(spool, 1, 2)
    (path,) = spool.iterdir()
    header, first, second, _ = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([header, first, line, second, b""]))
    (left,) = spool_files(spool)
    assert left.requests == [request(1), request(2)]
    with claimed(left) as queue:
        assert queue is not None
        queue.drop_first()
    assert [again.requests for again in spool_files(spool)] == [[request(2)]]
    assert path.with_suffix(".unreadable").read_bytes() == line + b"\n"
    assert caplog.text.count("cannot be read") == 1


def test_the_file_of_a_living_run_is_not_dropped_for_room(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    living = RequestQueue(URL, spool)
    living.append(request(1))
    monkeypatch.setattr(spool_module, "MOST_BYTES", 300)
    other = RequestQueue(URL, spool)
    other.append(request(2))
    assert [left.requests for left in spool_files(spool)] == [[request(1)]]
    assert len(other) == 1  # in memory
    living.close()


def test_a_run_that_writes_on_drops_its_oldest_requests(
    spool: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spool_module, "MOST_BYTES", 2000)
    queue = RequestQueue(URL, spool)
    dropped = 0
    for number in range(100):
        dropped += queue.append(request(number))
        assert sum(path.stat().st_size for path in spool.iterdir()) <= 2000
    (left,) = spool_files(spool)
    assert left.requests == [request(number) for number in range(dropped, 100)]
    assert len(left.requests) >= 5
    assert "oldest" in caplog.text
    with claimed(left) as others:
        assert others is None  # its file is still locked
    queue.close()


def test_a_run_without_room_for_even_one_more_keeps_all_its_requests_in_memory(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = RequestQueue(URL, spool)
    for number in range(4):
        queue.append(request(number))
    monkeypatch.setattr(spool_module, "MOST_BYTES", 100)
    assert queue.append(request(4)) == 0
    assert [queue.first, len(queue)] == [request(0), 5]
    queue.close()


def test_requests_that_were_dropped_are_told_even_if_the_disk_then_fails(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "MOST_BYTES", 1000)
    queue = RequestQueue(URL, spool)
    queue.append(request(0))

    def fail(_path: Path, _target: Path) -> Path:
        raise OSError("no space")

    monkeypatch.setattr(Path, "replace", fail)  # a file is replaced when requests were dropped
    dropped = sum(queue.append(request(number)) for number in range(1, 10))
    assert dropped > 0
    assert [queue.first, len(queue)] == [request(dropped), 10 - dropped]
    queue.close()


def test_a_disk_that_fills_up_raises_nothing_and_loses_nothing_that_was_written(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    queue = RequestQueue(URL, small_disk)
    queue.append(request(0))
    filling = small_disk / "filling"
    with filling.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    for number in range(1, 100):
        queue.append(request(number))
    queue.close()
    (left,) = spool_files(small_disk)
    assert left.requests[0] == request(0)
    assert "kept in memory only" in caplog.text
    assert "unsent reports are lost" in caplog.text
    filling.unlink()


def test_what_did_not_fit_is_written_at_the_end_if_there_is_room_again(small_disk: Path) -> None:
    queue = RequestQueue(URL, small_disk)
    filling = small_disk / "filling"
    with filling.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    queue.append(request(1))
    filling.unlink()
    queue.close()
    assert [left.requests for left in spool_files(small_disk)] == [[request(1)]]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("only root can mount a small file system")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


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
    monkeypatch.setenv("RHEOSTAT_SPOOL_DIR", "")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert spool_directory() == Path("/state/rheostat/spool")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/user")
    assert spool_directory() == Path("/home/user/.local/state/rheostat/spool")


def test_a_user_without_a_home_has_a_directory_for_temporary_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nobody(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("RHEOSTAT_SPOOL_DIR", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "expanduser", nobody)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    directory = spool_directory()
    assert directory.parent == tmp_path
    queue = RequestQueue(URL, directory)
    queue.append(request(1))
    queue.close()
    assert [left.requests for left in spool_files(directory)] == [[request(1)]]
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    (tmp_path / "rheostat-spool-12345").mkdir()  # made by somebody else
    RequestQueue(URL, spool_directory()).append(request(2))
    assert spool_files(spool_directory()) == []


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
