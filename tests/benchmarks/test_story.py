import json
import re
from pathlib import Path

import pytest

from benchmarks.decisions.synthetic import synthetic_world
from benchmarks.story.savings import JobSavings, Shares, Spread, as_json, play, sentence
from rheostat.replay.run import Plan

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "docs" / "figures"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PLAN = Plan("rheostat", 0.5, 2.0, 50, (1, 2))


def _of(page: Path) -> str:
    """The text of a page without its line breaks."""
    return " ".join(page.read_text().split())


@pytest.fixture(scope="module")
def job() -> JobSavings:
    (job,) = play([synthetic_world(20_001)], PLAN)
    return job


def test_a_page_that_shows_the_savings_says_the_figures_that_were_drawn() -> None:
    drawn = json.loads((FIGURES / "savings.json").read_text())
    showing = [page for page in PAGES if "figures/savings.svg" in page.read_text()]
    assert showing
    for page in showing:
        assert drawn["sentence"] in _of(page), f"{page.name} must say: {drawn['sentence']}"


def test_no_choice_is_cheaper_than_the_best_fixed_one_and_learning_is_paid_for(job: JobSavings) -> None:
    def cost(shares: Shares) -> float:
        return shares.energy.mean + shares.time.mean

    early, late = (job.rheostat[n] for n in (10, 50))
    assert cost(job.of_best_fixed) < cost(early)
    assert early.energy.low <= early.energy.mean <= early.energy.high
    assert cost(job.of_power_alone) <= 2.0
    assert cost(late) < cost(early)


def test_the_default_is_compared_at_the_highest_limit(job: JobSavings) -> None:
    world = synthetic_world(20_001)
    assert job.default == (world.default_batch_size, world.power_limits_watts[0])


def test_the_sentence_says_what_became_more_and_what_less(job: JobSavings) -> None:
    def one(energy: float, time: float) -> JobSavings:
        shares = Shares(Spread(energy, energy, energy), Spread(time, time, time))
        return JobSavings("a, b", (64, 300), (32, 200), {10: shares, 50: shares}, shares, shares)

    said = sentence([one(0.5, 0.9), one(0.9, 1.2)], PLAN)
    assert "10 to 50 % less energy than always the default (mean 30 %)" in said
    assert "from 10 % less to 20 % more time (mean 5 % more)" in said
    assert as_json([job], PLAN, "make figures")["seeds"] == [1, 2]


def test_the_same_figures_draw_the_same_small_file(job: JobSavings, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.story import drawing

    for name in ("one.svg", "two.svg"):
        drawing.savings(tmp_path / name, [job, job], seeds=2, eta_knob=0.5)
    drawn = (tmp_path / "one.svg").read_bytes()
    assert drawn == (tmp_path / "two.svg").read_bytes()
    assert len(drawn) < 60_000


DRAWN = json.loads((FIGURES / "savings.json").read_text())


@pytest.mark.parametrize(
    ("page", "lines"),
    [
        ("power-only.md", DRAWN["power_alone"]),
        ("how-it-decides.md", DRAWN["example"]["trials"]),
        ("how-it-decides.md", DRAWN["example"]["beliefs"]),
    ],
)
def test_a_table_of_a_page_is_as_it_was_computed(page: str, lines: list[str]) -> None:
    assert "\n".join(lines) in (ROOT / "docs" / page).read_text()


def test_the_caveats_say_what_the_first_recurrences_took() -> None:
    early = [job["rheostat"]["10"] for job in DRAWN["jobs"]]
    saved = sorted(round(100 * (1 - of_job["energy"]["mean"])) for of_job in early)
    longer = sorted(round(100 * (of_job["time"]["mean"] - 1)) for of_job in early if of_job["time"]["mean"] > 1)
    said = _of(ROOT / "docs" / "caveats.md")
    assert f"the first ten recurrences took {saved[0]} to {saved[-1]} % less energy" in said
    assert f"{longer[0]} to {longer[-1]} % *more* time" in said
    assert len(longer) == 2


def test_the_readme_says_what_the_power_limit_alone_took() -> None:
    def said(eta: str) -> str:
        rows = [cells for row in DRAWN["power_alone"] if (cells := row.split(" | "))[2:3] == [eta]]
        less = sorted(-round(float(cells[4].split()[0])) for cells in rows)
        more = sorted(round(float(cells[5].split()[0])) for cells in rows)
        energy = f"{less[0]} to {less[-1]} % less"
        return rf"{energy}( energy)? for {more[0]} to {more[-1]} % more"

    readme = _of(ROOT / "README.md")
    assert re.search(said("0.5"), readme)
    assert re.search(said("1"), readme)
