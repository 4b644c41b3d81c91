"""Wire models as rows."""

import csv
from io import StringIO
from typing import Literal

import pytest

from rheostat.schemas.rows import columns_of, csv_lines, row_of
from rheostat.schemas.server import Gpu, JobSettings, Target
from tests.domain.examples import V100, settings


def test_a_nested_field_is_a_group_of_columns_also_where_it_is_null() -> None:
    without = settings(target=None)
    assert list(row_of(without)) == list(row_of(settings())) == columns_of(JobSettings)
    assert (row_of(settings())["target_metric"], row_of(without)["target_metric"]) == ("accuracy", None)
    assert "target" not in columns_of(JobSettings)


def test_a_list_is_one_value() -> None:
    assert row_of(settings())["batch_sizes"] == "8 16 32 64 128"
    assert row_of(V100)["model"] == "V100"


def test_a_list_of_models_is_json() -> None:
    class Both(Gpu):
        targets: list[Target]
        kind: Literal["a"] = "a"

    target = Target(metric="accuracy", value=0.9, direction="maximize")
    row = row_of(Both(model="V100", targets=[target]))
    assert row["targets"] == '[{"metric": "accuracy", "value": 0.9, "direction": "maximize"}]'
    assert row["kind"] == "a"


def test_a_mapping_is_json_and_one_value() -> None:
    class Tagged(Gpu):
        tags: dict[str, str]

    assert row_of(Tagged(model="V100", tags={"a": "b"}))["tags"] == '{"a": "b"}'
    assert row_of(Tagged(model="V100", tags={}))["tags"] is None


def test_a_text_that_a_spreadsheet_would_run_is_only_text() -> None:
    row = {
        "node": '=HYPERLINK("http://evil.test","x")',
        "metric": -1.5,
        "reason": "two\nlines, and a comma",
        "tag": None,
    }
    header, line, minus = csv_lines(list(row), [row, row | {"node": "-1+1"}])
    assert header == "node,metric,reason,tag\n"
    assert line == '"\'=HYPERLINK(""http://evil.test"",""x"")",-1.5,"two\nlines, and a comma",\n'
    assert minus.startswith("'-1+1,")
    assert [one.split(",")[0] for one in csv_lines(["a"], [{"a": "@x"}, {"a": "+x"}, {"a": "a=x"}])] == [
        "a\n",
        "'@x\n",
        "'+x\n",
        "a=x\n",
    ]


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1+1", "\uff1d1+1", "\uff201"]
)
def test_what_begins_as_a_formula_gets_an_apostrophe(text: str) -> None:
    lines = csv_lines(["node"], [{"node": text}])
    assert [row["node"] for row in csv.DictReader(StringIO("".join(lines), newline=""))] == [f"'{text}"]


@pytest.mark.parametrize("text", ["a=1", "node-1", "", "2026-11-01", "1e-05", "{}", "'=1"])
def test_any_other_text_stays_as_it_is(text: str) -> None:
    lines = csv_lines(["number", "node"], [{"number": 1, "node": text}])
    assert [row["node"] for row in csv.DictReader(StringIO("".join(lines)))] == [text]
