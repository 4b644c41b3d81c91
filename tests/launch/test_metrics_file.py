"""Files that trainers write their metric to, as they are written: what is new counts once, and nothing of before."""

import json
import os
from collections.abc import Iterator
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from rheostat.launch.metrics_file import MetricsFile
from rheostat.launch.readings import FileReader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics"


class Followed:
    """A file that is followed from now on."""

    def __init__(self, path: Path | str, metric: str | None = "acc") -> None:
        self.reader = FileReader(metric)
        self.file = MetricsFile(str(path), self.reader)

    def poll(self) -> list[float]:
        """The metrics of two looks, of which the second one finds the file unchanged."""
        return [reading.metric for _ in range(2) for reading in self.file.poll()]

    def rest(self) -> list[tuple[float, float | None]]:
        """The metrics with their epochs at the end."""
        readings = self.file.poll(is_last=True)
        self.file.close()
        return [(reading.metric, reading.epoch) for reading in readings]


@pytest.fixture
def followed(path: Path) -> Iterator[Followed]:
    followed = Followed(path)
    yield followed
    followed.file.close()


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def line(metric: float, **more: object) -> str:
    return json.dumps({"acc": metric, **more}) + "\n"


def state_of(*metrics: float) -> str:
    """As Hugging Face's trainer writes `trainer_state.json`."""
    log: list[dict[str, Any]] = []
    for epoch, metric in enumerate(metrics, 1):
        log += [{"epoch": epoch - 0.5, "loss": 1.0, "step": epoch}, {"epoch": float(epoch), "acc": metric}]
    return json.dumps({"best_metric": None, "epoch": 3.0, "log_history": log, "trial_params": None}, indent=2) + "\n"


class TestLines:
    def test_a_file_may_come_later_and_grow(self, path: Path, followed: Followed) -> None:
        assert followed.poll() == []
        append(path, line(0.1) + '{"ac')
        assert followed.poll() == [0.1]
        append(path, 'c": 0.2}\n{"acc": 0.3}')
        assert followed.poll() == [0.2]
        assert followed.rest() == [(0.3, None)]

    def test_what_earlier_runs_have_written_is_not_read_again(self, path: Path) -> None:
        append(path, line(0.95))
        followed = Followed(path)
        assert followed.poll() == []
        append(path, line(0.1))
        assert followed.rest() == [(0.1, None)]

    def test_columns_are_known_from_earlier_runs(self, path: Path) -> None:
        append(path, "epoch,acc\n1,0.95\n")
        followed = Followed(path)
        append(path, "1,0.1\n")
        assert followed.rest() == [(0.1, 1)]

    def test_an_emptied_file_is_read_from_its_beginning(self, path: Path, followed: Followed) -> None:
        append(path, line(0.1) + line(0.2))
        assert followed.poll() == [0.1, 0.2]
        path.write_text(line(0.3))
        assert followed.poll() == [0.3]

    def test_a_file_that_grew_past_our_place_after_it_was_emptied_is_noticed(
        self, path: Path, followed: Followed
    ) -> None:
        append(path, line(0.1) + line(0.2))
        followed.poll()
        path.write_text(line(0.3) + line(0.4) + line(0.5))
        assert followed.poll() == [0.3, 0.4, 0.5]

    def test_a_replaced_file_is_read_to_its_end_and_then_the_new_one(self, path: Path, followed: Followed) -> None:
        append(path, line(0.1))
        assert followed.poll() == [0.1]
        append(path, line(0.2))
        path.rename(path.with_suffix(".1"))
        assert followed.poll() == [0.2]
        append(path, line(0.3))
        assert followed.poll() == [0.3]

    def test_a_file_that_is_written_whole_again_has_one_more(self, path: Path, followed: Followed) -> None:
        """As of pandas' `to_csv`, or Lightning's logger when a column comes to it."""
        text = "acc\n"
        for metric in (0.1, 0.1, 0.2):
            text += f"{metric}\n"
            path.write_text(text)
            assert followed.poll() == [metric]
        path.write_text("loss,acc\n2,0.1\n2,0.1\n2,0.2\n1,0.3\n")
        assert followed.poll() == [0.3]

    def test_what_is_seen_while_a_file_is_written_again_does_not_count_twice(
        self, path: Path, followed: Followed
    ) -> None:
        append(path, line(0.1) + line(0.2))
        assert followed.poll() == [0.1, 0.2]
        for text, new in (("", []), (line(0.1), []), (line(0.1) + line(0.2) + line(0.3), [0.3])):
            path.write_text(text)
            assert followed.poll() == new

    def test_a_run_that_writes_the_same_as_the_one_before_counts(self, path: Path) -> None:
        append(path, "epoch,acc\n1,0.1\n2,0.2\n")
        followed = Followed(path)
        path.write_text("epoch,acc\n1,0.1\n")
        assert followed.poll() == [0.1]
        append(path, "2,0.2\n")
        assert followed.poll() == [0.2]
        append(path, "3,0.3\n")
        assert followed.rest() == [(0.3, 3)]

    def test_a_run_that_writes_the_earlier_ones_again_adds_its_own(self, path: Path) -> None:
        append(path, "epoch,acc\n1,0.1\n2,0.95\n")
        followed = Followed(path)
        path.write_text("epoch,acc\n1,0.1\n")  # seen while it is written
        assert followed.file.poll() == []
        append(path, "2,0.95\n3,0.2\n")
        assert followed.poll() == [0.2]

    def test_what_is_no_file_is_waited_for(self, path: Path, followed: Followed) -> None:
        os.mkfifo(path)
        assert followed.poll() == []
        path.unlink()
        append(path, line(0.1))
        assert followed.poll() == [0.1]

    def test_a_removed_file_may_come_again(self, path: Path, followed: Followed) -> None:
        append(path, line(0.1))
        assert followed.poll() == [0.1]
        path.unlink()
        assert followed.poll() == []
        append(path, line(0.2))
        assert followed.poll() == [0.2]

    def test_a_file_that_does_not_change_is_not_read(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        append(path, line(0.1))
        followed = Followed(path)
        monkeypatch.setattr(os, "pread", None)
        assert followed.poll() == []


class TestDocuments:
    @pytest.mark.parametrize("indent", [None, 2])
    def test_what_was_added_to_its_list_counts(self, path: Path, followed: Followed, indent: int | None) -> None:
        for metrics in ((), (0.1,), (0.1, 0.2), (0.1, 0.2, float("nan"))):
            path.write_text(json.dumps(json.loads(state_of(*metrics)), indent=indent))
            found = followed.poll()
            assert found[:1] == list(metrics[-1:]) or isnan(found[0])
            assert len(found) == len(metrics[-1:])

    def test_a_part_of_one_is_waited_for(self, path: Path, followed: Followed) -> None:
        whole = state_of(0.1, 0.2)
        path.write_text(whole[: len(whole) // 2])
        assert followed.poll() == []
        path.write_text(whole)
        assert followed.rest() == [(0.1, 1.0), (0.2, 2.0)]

    def test_that_of_an_earlier_run_does_not_count(self, path: Path) -> None:
        path.write_text(state_of(0.8, 0.95))
        followed = Followed(path)
        assert followed.poll() == []
        path.write_text(state_of(0.1))
        assert followed.rest() == [(0.1, 1.0)]

    def test_one_that_goes_on_from_an_earlier_run_counts_from_there(self, path: Path) -> None:
        path.write_text(state_of(0.8, 0.95))
        followed = Followed(path)
        path.write_text(state_of(0.8, 0.95, 0.7))
        assert followed.rest() == [(0.7, 3.0)]

    def test_one_that_is_never_written_does_not_count(self, path: Path) -> None:
        path.write_text(state_of(0.95))
        followed = Followed(path)
        assert followed.poll() == []
        assert followed.rest() == []

    def test_one_that_is_written_again_as_it_was_is_the_runs_own(self, path: Path) -> None:
        path.write_text(state_of(0.95))
        os.utime(path, (1, 1))
        followed = Followed(path)
        path.write_text(state_of(0.95))
        assert followed.rest() == [(0.95, 1.0)]

    @pytest.mark.parametrize(
        ("document", "found"),
        [
            ({"acc": 0.5}, [(0.5, None)]),
            ({"acc": [0.1, 0.5], "epoch": [1, 2], "params": {"lr": 0.1}}, [(0.1, 1), (0.5, 2)]),
            ([{"epoch": 1, "acc": 0.1}, {"epoch": 2, "loss": 3}], [(0.1, 1)]),
            ({"results": {"all": {"acc": 0.5, "epoch": 2}}}, [(0.5, 2)]),
        ],
        ids=["one record", "columns", "a list", "nested"],
    )
    @pytest.mark.parametrize("indent", [None, 2])
    def test_it_may_have_many_shapes(
        self, path: Path, followed: Followed, document: object, found: object, indent: int | None
    ) -> None:
        if indent is None and isinstance(document, dict) and "results" in document:
            document = {"epoch": 2, "results": {"acc": 0.5}}
        path.write_text(json.dumps(document, indent=indent))
        assert followed.rest() == found

    def test_its_names_are_those_of_its_records(self, path: Path) -> None:
        followed = Followed(path, "eval_loss")
        path.write_text(state_of(0.1))
        assert followed.rest() == []
        assert list(followed.reader.names) == ["epoch", "loss", "step", "acc"]


class TestPatterns:
    def test_the_newest_file_since_the_start_counts(self, tmp_path: Path) -> None:
        for name in ("old", "older"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "metrics.csv").write_text("epoch,acc\n1,0.95\n")
        followed = Followed(f"{tmp_path}/*/metrics.csv")
        assert followed.poll() == []
        (tmp_path / "run-3").mkdir()
        (tmp_path / "run-3" / "metrics.csv").write_text("epoch,acc\n1,0.1\n")
        assert followed.rest() == [(0.1, 1)]

    def test_each_checkpoint_has_all_evaluations_again(self, tmp_path: Path) -> None:
        followed = Followed(f"{tmp_path}/**/trainer_state.json")
        found = []
        for metrics in ((0.1,), (0.1, 0.2), (0.1, 0.2, 0.3)):
            file = tmp_path / "out" / f"checkpoint-{len(metrics)}" / "trainer_state.json"
            file.parent.mkdir(parents=True)
            file.write_text(state_of(*metrics))
            os.utime(file, ns=(0, file.stat().st_mtime_ns + len(metrics)))
            found.append([reading.metric for reading in followed.file.poll(is_last=True)])
        assert found == [[0.1], [0.2], [0.3]]
        followed.file.close()

    def test_a_file_of_an_earlier_run_that_is_appended_to_has_new_lines(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text(line(0.95))
        followed = Followed(f"{tmp_path}/*.jsonl")
        append(tmp_path / "a.jsonl", line(0.1))
        assert followed.rest() == [(0.1, None)]
