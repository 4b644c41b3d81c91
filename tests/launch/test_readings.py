import logging
from math import isnan

import pytest

from rheostat.launch.readings import FileReader, LineSplitter, Reading


class TestLines:
    def test_a_line_counts_when_it_ends(self) -> None:
        lines = LineSplitter()
        assert lines.feed(b"acc=0.") == []
        assert lines.feed(b"5\nacc=0.6\r\nac") == ["acc=0.5", "acc=0.6"]
        assert lines.rest() == ["ac"]
        assert lines.rest() == []

    def test_what_a_progress_bar_overwrote_does_not_count(self) -> None:
        assert LineSplitter().feed(b"10% acc=0.1\r50% acc=0.2\r100% acc=0.3\r          \r\n") == ["100% acc=0.3"]

    def test_colours_are_not_part_of_it(self) -> None:
        assert LineSplitter().feed(b"\x1b[1;32macc\x1b[0m=0.5\n") == ["acc=0.5"]

    def test_a_line_without_an_end_does_not_fill_the_memory(self) -> None:
        lines = LineSplitter()
        for _ in range(40):
            lines.feed(b"x" * 2**16)
        assert len(lines.rest()[0]) <= 2**20

    def test_bytes_that_are_no_text_do_no_harm(self) -> None:
        assert LineSplitter().feed(b"\xff\xfe acc=0.5\n")[0].endswith("acc=0.5")


class TestFile:
    def test_json_lines_with_the_metric_count(self) -> None:
        read = FileReader("val/acc")
        assert read('{"epoch": 1, "loss": 3.5}') is None
        assert read('{"epoch": 1.5, "val/acc": 0.5}') == Reading(0.5, 1.5)
        assert read('{"val/acc": 1}') == Reading(1.0, None)
        assert read('{"val/acc": 0.') is None
        assert read('{"val/acc": true}') is None
        assert read("") is None

    def test_csv_rows_with_the_metric_count(self) -> None:
        read = FileReader("acc")
        assert [read(line) for line in ("epoch,acc,loss", "1,0.5,2", "1,,1.5", "2,0.6")] == [
            None,
            Reading(0.5, 1),
            None,
            Reading(0.6, 2),
        ]

    def test_the_header_may_come_again(self) -> None:
        read = FileReader("acc")
        lines = ("acc,epoch", "0.5,1", "epoch,acc", "1,0.5")
        assert [read(line) for line in lines] == [None, Reading(0.5, 1)] * 2

    def test_a_missing_column_is_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        read = FileReader("accuracy")
        with caplog.at_level(logging.WARNING):
            assert read("epoch,acc") is None
            assert read("1,0.5") is None
        assert "there are: epoch, acc" in caplog.text

    def test_text_is_no_header(self, caplog: pytest.LogCaptureFixture) -> None:
        read = FileReader("acc")
        assert [read(line) for line in ("starting up", "epoch 1 done", "acc", "0.5")][-1] == Reading(0.5, None)
        assert not caplog.records

    @pytest.mark.parametrize(
        "lines",
        [
            (
                "               epoch,      train/loss,    metrics/mAP50(B)",
                "                   3,          0.4,         0.5",
            ),
            ("epoch\ttrain, loss\tmetrics/mAP50(B)", "3\t0.4\t0.5"),
            ("epoch;loss;metrics/mAP50(B)", "3;0,4;0.5"),
            ("\ufeffmetrics/mAP50(B),Epoch", "0.5,3"),
            ('"epoch","metrics/mAP50(B)"', '"3","0.5"'),
        ],
        ids=["YOLO's", "tabs", "semicolons", "a spreadsheet's", "quoted"],
    )
    def test_columns_come_in_many_ways(self, lines: tuple[str, str]) -> None:
        read = FileReader("metrics/mAP50(B)")
        assert [read(line) for line in lines] == [None, Reading(0.5, 3)]

    def test_printed_dictionaries_count(self) -> None:
        read = FileReader("eval_loss")
        assert read("{'loss': 0.7, 'grad_norm': 1.5, 'epoch': 0.5}") is None
        assert read("{'eval_loss': 0.3, 'eval_runtime': None, 'epoch': 1.0}") == Reading(0.3, 1.0)
        reading = read("{'eval_loss': nan, 'epoch': 2.0}")
        assert reading is not None
        assert (isnan(reading.metric), reading.epoch) == (True, 2.0)

    def test_an_object_in_a_line_may_have_the_metric(self) -> None:
        assert FileReader("acc")('{"epoch": 2, "eval": {"acc": 0.5, "n": 7}}') == Reading(0.5, 2)

    def test_without_a_target_each_line_is_an_epoch(self) -> None:
        reading = FileReader(None)('{"epoch": 2}')
        assert reading is not None
        assert isnan(reading.metric)
        assert reading.epoch == 2

    @pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", '"nan"', "1e999"])
    def test_a_metric_that_is_not_finite_is_unknown(self, text: str) -> None:
        reading = FileReader("acc")(f'{{"epoch": 1, "acc": {text}}}')
        assert reading is not None
        assert isnan(reading.metric)
        assert reading.epoch == 1
