import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rheostat.launch.tail import FileTail


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics"


@pytest.fixture
def tail(path: Path) -> Iterator[FileTail]:
    tail = FileTail(path)
    yield tail
    tail.close()


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_a_file_may_come_later_and_grow(path: Path, tail: FileTail) -> None:
    assert tail.poll() == []
    append(path, "one\ntw")
    assert tail.poll() == ["one"]
    append(path, "o\nthree")
    assert tail.poll() == ["two"]
    assert tail.rest() == ["three"]


def test_an_emptied_file_is_read_from_its_beginning(path: Path, tail: FileTail) -> None:
    append(path, "one\ntwo\n")
    assert tail.poll() == ["one", "two"]
    path.write_text("three\n")
    assert tail.poll() == ["three"]


def test_a_file_that_grew_past_our_place_after_it_was_emptied_is_noticed(path: Path, tail: FileTail) -> None:
    append(path, "one\ntwo\n")
    tail.poll()
    path.write_text("three\nfour\nfive\n")
    assert tail.poll() == ["three", "four", "five"]


def test_a_replaced_file_is_read_to_its_end_and_then_the_new_one(path: Path, tail: FileTail) -> None:
    append(path, "one\n")
    assert tail.poll() == ["one"]
    append(path, "two\n")
    path.rename(path.with_suffix(".1"))
    assert tail.poll() == ["two"]
    append(path, "three\n")
    assert tail.poll() == ["three"]


def test_what_is_no_file_is_waited_for(path: Path, tail: FileTail) -> None:
    os.mkfifo(path)
    assert tail.poll() == []
    path.unlink()
    append(path, "one\n")
    assert tail.poll() == ["one"]


def test_what_earlier_runs_have_written_is_not_read_again(path: Path) -> None:
    append(path, '{"acc": 0.95}\n')
    tail = FileTail(path)
    append(path, '{"acc": 0.1}\n')
    assert tail.rest() == ['{"acc": 0.1}']
    tail.close()


def test_columns_are_known_from_earlier_runs(path: Path) -> None:
    append(path, "epoch,acc\n1,0.95\n")
    tail = FileTail(path)
    append(path, "1,0.1\n")
    assert tail.rest() == ["epoch,acc", "1,0.1"]
    tail.close()
