"""Data frames, with the real pandas."""

import sys
from pathlib import Path

from rheostat.schemas.server import Gpu
from rheostat.sdk.frames import frame_of
from tests.domain.examples import A40, V100
from tests.test_dashboard_page import blocks, environment, run

__all__ = ["environment"]


def test_a_frame_has_a_row_for_each_model_and_numbers_in_columns_of_numbers() -> None:
    frame = frame_of(Gpu, [V100, A40, Gpu(model="unknown")])
    assert list(frame["model"]) == ["V100", "A40", "unknown"]
    assert list(frame.columns[:2]) == ["model", "count"]
    assert frame["max_power_limit_watts"].sum() == 550
    assert frame["max_power_limit_watts"].isna().sum() == 1


def test_a_frame_of_nothing_has_the_columns_all_the_same() -> None:
    frame = frame_of(Gpu, [])
    assert len(frame) == 0
    assert "max_power_limit_watts" in frame.columns


def test_the_documented_program_runs(environment: dict[str, str], tmp_path: Path) -> None:
    frames, _ = blocks("python")
    assert "batch_size" in run(environment, tmp_path, sys.executable, "-c", frames)
