"""Data frames."""

import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from rheostat.errors import ConfigurationError
from rheostat.schemas.server import Gpu
from rheostat.sdk.frames import all_pages, frame_of
from tests.domain.examples import A40, V100


def test_the_items_of_all_pages_come_in_order() -> None:
    pages = {None: SimpleNamespace(gpus=[V100], next_cursor="1"), "1": SimpleNamespace(gpus=[A40], next_cursor=None)}
    assert list(all_pages(pages.__getitem__, "gpus")) == [V100, A40]


def test_a_frame_has_a_row_for_each_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def frame(rows: Sequence[dict[str, Any]], columns: list[str]) -> tuple[Sequence[dict[str, Any]], list[str]]:
        return rows, columns

    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=frame))
    rows, columns = frame_of(Gpu, [V100, A40])
    assert [row["model"] for row in rows] == ["V100", "A40"]
    assert columns[:2] == ["model", "count"]


def test_without_pandas_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigurationError, match="pip install pandas"):
        frame_of(Gpu, [])
