"""What docs/dashboard.md says is what happens: its commands and programs are run on a real server."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from rheostat import visualization
from rheostat.service.operations import open_service
from tests.domain.examples import JOB
from tests.serving import serving
from tests.visualization.examples import explore
from tests.waiting import PATIENCE_SECONDS

PAGE = (Path(__file__).parents[1] / "docs" / "dashboard.md").read_text()
RECORDING = """
import plotly.graph_objects as go
go.Figure.show = lambda figure: print("figure with", len(figure.data), "traces")
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a user whose server has a job that has explored."""
    home = tmp_path_factory.mktemp("documented")
    url = f"sqlite:///{home / 'rheostat.db'}"
    service = open_service(url, timedelta(hours=1))
    explore(service)
    service.close()
    with serving(url, home / "log") as server:
        yield os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RHEOSTAT_DATABASE_URL": url,
            "RHEOSTAT_URL": str(server.client.base_url),
        }


def blocks(language: str) -> list[str]:
    return [text.replace("my-job", JOB) for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)]


def run(environment: dict[str, str], directory: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_commands_of_the_report_and_the_export_run(environment: dict[str, str], tmp_path: Path) -> None:
    script = "".join(blocks("sh"))
    assert script.count("\nrheostat ") >= 6
    run(environment, tmp_path, "bash", "-euo", "pipefail", "-c", script)
    assert {path.name for path in tmp_path.iterdir() if path.stat().st_size} == set(re.findall(r"> (\S+)", script))


def test_the_program_that_draws_in_a_notebook_runs(environment: dict[str, str], tmp_path: Path) -> None:
    _, figures = blocks("python")
    drawn = run(environment, tmp_path, sys.executable, "-c", RECORDING + figures)
    assert re.findall(r"figure with [1-9]\d* traces", drawn) == drawn.splitlines()
    assert len(drawn.splitlines()) == figures.count(".show()")


def test_every_function_that_plots_is_in_the_table() -> None:
    assert set(re.findall(r"^\| `(plot_\w+)\(", PAGE, re.MULTILINE)) == set(visualization.__all__)
