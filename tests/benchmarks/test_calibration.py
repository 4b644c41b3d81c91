"""Calibration: what counts as an interval that holds the truth, and the page that shows it."""

import re
from pathlib import Path

import pytest

from benchmarks.decisions.calibration import RECURRENCES, Coverage, holds, shares, true_figures, watch
from benchmarks.decisions.scenarios import Game
from benchmarks.decisions.synthetic import synthetic_world

ARM: dict[str, float | None] = {"epochs_low": 50.0, "epochs_high": 200.0, "cost_low": None, "cost_high": None}


@pytest.mark.parametrize(
    ("truth", "narrow", "wide"), [(100.0, True, True), (170.0, False, True), (210.0, False, False)]
)
def test_the_narrower_interval_is_that_of_the_same_lognormal(truth: float, narrow: bool, wide: bool) -> None:
    assert holds(ARM, "epochs", truth, 0.5) is narrow
    assert holds(ARM, "epochs", truth, 0.95) is wide


def test_shares_are_over_all_arms_of_all_games() -> None:
    seen = [Coverage("cost", 5, 0.5, (True, False, True)), Coverage("cost", 5, 0.5, (False,))]
    assert shares(seen) == {("cost", 0.5): {5: 0.5}}


def test_a_watched_game_says_after_which_recurrences_what_held_of_every_arm_that_can_converge() -> None:
    world = synthetic_world(1)
    seen = watch(Game("watched", "rheostat", world, recurrences=5), 3)
    able = [size for size in world.batch_sizes if true_figures(world, size, 0.5) is not None]
    assert {one.recurrences for one in seen} == {n for n in RECURRENCES if n <= 5}
    assert {len(one.held) for one in seen} == {len(able)}
    assert {(one.figure, one.level) for one in seen} == {
        (f, level) for f in ("epochs", "cost") for level in (0.5, 0.95)
    }


def test_the_page_and_its_figures_are_the_same_from_the_same_data(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="The figures need matplotlib: pip install '.[report]'.")
    from benchmarks.decisions.report import SHOWN, write

    played = [
        {
            "scenario": "worlds",
            "player": player,
            "excess": {"10": [0.2, 0.3], "20": [0.1, 0.2]},
            "worst_behind": [0.5, 1.0],
        }
        for player in SHOWN
    ]
    texts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        seen = [Coverage("cost", 5, 0.5, (True, False))]
        write(tmp_path / name, played, seen, source="2 worlds", seeds=2, made_by="make bench-report")
        texts.append({path.name: path.read_text() for path in (tmp_path / name).iterdir()})
    assert texts[0] == texts[1]
    linked = re.findall(r"\]\((.*?\.svg)\)", texts[0]["decisions.md"])
    assert set(linked) == set(texts[0]) - {"decisions.md"}
