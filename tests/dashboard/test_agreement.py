"""What the pages show of a replayed job is what the API says of it, and what the replay itself has counted."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rheostat.replay.run import Outcome, Plan, replay_worlds
from rheostat.schemas.insight import Estimates, Savings
from rheostat.schemas.report import JobReport
from tests.dashboard.conftest import Page
from tests.replay.examples import a_world
from tests.serving import Serving, serving

JOB = "replayed"


@dataclass(frozen=True)
class Replayed:
    """A job that a server keeps, and the replay that made it."""

    server: Serving
    outcome: Outcome

    def page(self, path: str) -> Page:
        return Page(self.server.client.get(path).raise_for_status())

    def api(self, path: str) -> Any:
        return self.server.client.get(f"/v1/jobs/{JOB}/{path}").raise_for_status().json()

    @property
    def joules(self) -> float:
        return sum(trial.energy_joules for trial in self.outcome.trials)

    @property
    def seconds(self) -> float:
        return sum(trial.time_seconds for trial in self.outcome.trials)

    @property
    def converged(self) -> int:
        return sum(trial.state == "converged" for trial in self.outcome.trials)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replayed]:
    folder: Path = tmp_path_factory.mktemp("replayed")
    with serving(f"sqlite:///{folder / 'rheostat.db'}", folder / "log") as server:
        server_url = str(server.client.base_url)
        plan = Plan("rheostat", 0.5, 2.0, recurrences=12, seeds=(1,), server=server_url, job_id=JOB)
        (outcome,) = replay_worlds([a_world(folder)], plan)
        yield Replayed(server, outcome)


def data_of(page: Page) -> list[float]:
    """Return the exact values of a page's tiles."""
    return [float(value) for value in re.findall(r'<data value="([^"]+)">', page.html)]


def test_the_api_counts_what_the_replay_counted(replayed: Replayed) -> None:
    (placement,) = Savings.model_validate(replayed.api("savings")).placements
    assert placement.energy_joules.actual == pytest.approx(replayed.joules)
    assert placement.time_seconds.actual == pytest.approx(replayed.seconds)
    assert placement.converged_runs == replayed.converged


@pytest.mark.parametrize("path", ["/", f"/jobs/{JOB}"])
def test_the_tiles_of_a_page_are_the_savings_of_the_api(replayed: Replayed, path: str) -> None:
    (placement,) = Savings.model_validate(replayed.api("savings")).placements
    (reported,) = JobReport.model_validate(replayed.api("report")).placements
    saved = [reported.energy_joules.saved, reported.time_seconds.saved, reported.cost.saved]
    assert data_of(replayed.page(path)) == saved
    for figure, name in zip(saved, ("energy_joules", "time_seconds", "cost"), strict=True):
        saving = getattr(placement, name)
        assert figure == saving.baseline - saving.actual


def test_days_add_up_to_the_energy_that_was_saved(replayed: Replayed) -> None:
    (placement,) = JobReport.model_validate(replayed.api("report")).placements
    bars = json.loads(replayed.page("/").figures["saved-by-day"])["data"][-1]
    unit_joules = {"kWh": 3.6e6, "kJ": 1000.0, "J": 1.0}[bars["hovertemplate"].split("<")[0].split()[-1]]
    assert sum(bars["y"]) * unit_joules == pytest.approx(placement.energy_joules.saved, rel=1e-4)


def test_the_costs_of_a_page_are_those_of_the_replay(replayed: Replayed) -> None:
    world = replayed.outcome.world
    settings = replayed.server.client.get(f"/v1/jobs/{JOB}").json()["settings"]
    watts, eta_knob = max(world.power_limits_watts), settings["eta_knob"]
    costs = {
        trial.number: eta_knob * trial.energy_joules + (1 - eta_knob) * watts * trial.time_seconds
        for trial in replayed.outcome.trials
    }
    data = json.loads(replayed.page(f"/jobs/{JOB}").figures["costs"])["data"]
    drawn = {x: y for trace in data if trace.get("customdata") for x, y in zip(trace["x"], trace["y"], strict=True)}
    assert drawn == pytest.approx(costs)
    lowest = next(trace for trace in data if trace["name"] == "lowest so far")
    converged = [costs[trial.number] for trial in replayed.outcome.trials if trial.state == "converged"]
    assert lowest["y"][-1] == pytest.approx(min(converged))


def test_the_batch_sizes_of_a_page_are_the_estimates_of_the_api(replayed: Replayed) -> None:
    (placement,) = Estimates.model_validate(replayed.api("estimates")).placements
    known = {str(arm.batch_size): arm.cost for arm in placement.arms if arm.cost is not None}
    page = replayed.page(f"/jobs/{JOB}")
    drawn = {
        size: cost
        for trace in json.loads(page.figures["arms"])["data"]
        if "error_y" in trace
        for size, cost in zip(trace["x"], trace["y"], strict=True)
    }
    assert drawn == known
    for arm in placement.arms:
        assert arm.status in page.text
