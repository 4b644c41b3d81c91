import logging
from math import isnan

import pytest

from rheostat.errors import ConfigurationError
from rheostat.launch.patterns import pattern_reader
from rheostat.launch.readings import Reading


class TestPlaceholders:
    @pytest.mark.parametrize(
        ("text", "metric"),
        [
            ("0.91", 0.91),
            ("9.1e-1", 0.91),
            ("9.9E-05,", 9.9e-05),
            ("-0.5", -0.5),
            ("+3", 3.0),
            (".5.", 0.5),
            ("91%", 91.0),
            ("1e2s", 100.0),
            ("0.9/1", 0.9),
        ],
    )
    def test_they_take_a_whole_number(self, text: str, metric: float) -> None:
        for pattern in ("acc={metric}", "acc.*{metric}"):
            if "/" not in text:
                assert pattern_reader(pattern)(f"acc={text}") == Reading(metric, None)
        assert pattern_reader("acc={metric}.*")(f"acc={text} loss=3") == Reading(metric, None)

    @pytest.mark.parametrize("text", ["1,234.5", "1,234", "0,91", "1.2.3", "1_000", "?", "info", "nano"])
    def test_they_take_no_part_of_one(self, text: str) -> None:
        assert pattern_reader("acc={metric}")(f"acc={text}") is None

    @pytest.mark.parametrize("word", ["nan", "NaN", "inf", "-inf", "Infinity"])
    def test_a_word_for_a_number_is_unknown(self, word: str) -> None:
        reading = pattern_reader("epoch {epoch} acc={metric}")(f"epoch 3 acc={word}")
        assert reading is not None
        assert isnan(reading.metric)
        assert reading.epoch == 3

    @pytest.mark.parametrize(
        ("pattern", "line", "reading"),
        [
            ("epoch {epoch}/.*acc={metric}", "epoch 3/10 loss=0.1 acc=0.5", Reading(0.5, 3)),
            ("^{epoch},{metric}$", "3,0.91", Reading(0.91, 3)),
            ("loss-{metric}", "loss-0.5", Reading(0.5, None)),
            (r"\[{epoch}\] {metric}", "[1.5] 2", Reading(2.0, 1.5)),
        ],
    )
    def test_the_rest_is_a_regular_expression(self, pattern: str, line: str, reading: Reading) -> None:
        assert pattern_reader(pattern)(line) == reading


class TestGroups:
    @pytest.mark.parametrize(
        ("pattern", "line", "reading"),
        [
            (r"acc=(?P<metric>\S+)", "epoch 1 acc=0.5 loss=2", Reading(0.5, None)),
            (r"acc=(\S+)", "acc=1e-3", Reading(0.001, None)),
            (r"epoch (?P<epoch>\d+).*acc=(?P<metric>\S+)", "epoch 3: acc=0.5", Reading(0.5, 3)),
            (r"(?:epoch (?P<epoch>\d+) )?acc=(?P<metric>\S+)", "acc=0.5", Reading(0.5, None)),
            (r"(?P<epoch>\d+),(?P<metric>\d+)", "3,91", Reading(91.0, 3)),
            (r"loss-(?P<metric>[0-9.]+)", "loss-0.5", Reading(0.5, None)),
            (r"acc=(?P<metric>\S+)", "acc=?", None),
            (r"acc=(?P<metric>\S+)", "loss=2", None),
        ],
    )
    def test_they_find_metric_and_epoch(self, pattern: str, line: str, reading: Reading | None) -> None:
        assert pattern_reader(pattern)(line) == reading

    @pytest.mark.parametrize(
        ("pattern", "line"),
        [
            (r"acc=(?P<metric>[0-9.]+)", "acc=9.1e-1"),
            (r"acc=(?P<metric>[0-9.]+)", "acc=9.9e-05"),
            (r"acc=(?P<metric>[0-9.]+)", "acc=0,91"),
            (r"acc.*(?P<metric>[0-9.]+)", "acc=0.91"),
            (r"loss=-?(?P<metric>[0-9.]+)", "loss=-0.5"),
            (r"(\d+)", "acc=0.91"),
        ],
    )
    def test_one_that_cuts_a_number_leaves_it_unknown_and_is_warned_of_once(
        self, pattern: str, line: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        read = pattern_reader(pattern)
        with caplog.at_level(logging.WARNING):
            readings = [read(line), read(line)]
        assert all(reading is not None and isnan(reading.metric) for reading in readings)
        assert len(caplog.records) == 1
        assert "write {metric} instead" in caplog.text

    def test_a_cut_epoch_does_not_count(self) -> None:
        assert pattern_reader(r"epoch (?P<epoch>\d+) acc=(?P<metric>\S+)")("epoch 0.5 acc=1") is None


class TestMistakes:
    @pytest.mark.parametrize(
        "pattern", ["acc=(", "acc=.*", r"(\d+) acc=(\S+)", r"(?P<accuracy>\S+)", "[{epoch}/3] {metric}", "{metrics}"]
    )
    def test_a_pattern_that_does_not_say_where_the_metric_is_is_refused(self, pattern: str) -> None:
        with pytest.raises(ConfigurationError, match="--metric-pattern"):
            pattern_reader(pattern)


class TestNoNumbers:
    @pytest.mark.parametrize("pattern", ["loss=([0-9.]+)", r"loss=(?P<metric>\d+\.\d+) at", "loss={metric}"])
    @pytest.mark.parametrize("word", ["nan", "NaN", "inf", "-inf", "Infinity"])
    def test_a_word_is_read_where_the_pattern_takes_digits(self, pattern: str, word: str) -> None:
        if word.startswith("-") and "(" in pattern:
            pattern = pattern.replace("loss=", "loss=-?")
        reading = pattern_reader(pattern)(f"loss={word} at 3")
        assert reading is not None
        assert isnan(reading.metric)

    def test_the_epoch_beside_it_is_read(self) -> None:
        reading = pattern_reader(r"epoch (?P<epoch>\d+) loss (?P<metric>[\d.]+)")("epoch 3 loss nan")
        assert reading is not None
        assert (isnan(reading.metric), reading.epoch) == (True, 3)

    @pytest.mark.parametrize("line", ["grad nan, loss=", "nan", "loss=nano", "epoch inf loss=x", "val_loss=?, nan"])
    def test_a_word_elsewhere_is_no_metric(self, line: str) -> None:
        assert pattern_reader("loss=([0-9.]+)")(line) is None


class TestUnits:
    def test_a_percentage_is_not_silently_compared_with_a_share(self, caplog: pytest.LogCaptureFixture) -> None:
        read = pattern_reader("acc={metric}", target_value=0.9)
        assert [read("acc=91%"), read("acc=92 %")] == [Reading(91.0, None), Reading(92.0, None)]
        (record,) = caplog.records
        assert "reads 91 of '91%', and the target is at most 1" in record.getMessage()

    @pytest.mark.parametrize(("line", "target_value"), [("acc=0.91", 0.9), ("acc=91%", 90.0), ("acc=91%", None)])
    def test_other_units_are_no_mistake(
        self, line: str, target_value: float | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert pattern_reader("acc={metric}", target_value)(line) is not None
        assert not caplog.records
