"""The notebook that looks at a job runs from nothing, and is committed without what it shows."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rheostat import Client, Gpu, JobSettings
from tests.examples.runs import EXAMPLES
from tests.sdk.server_process import ServerProcess
from tests.waiting import PATIENCE_SECONDS

NOTEBOOK = EXAMPLES / "look_at_a_job.ipynb"
FIGURE = "application/vnd.plotly.v1+json"


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def test_it_makes_a_job_and_shows_tables_and_figures_of_it(tmp_path: Path) -> None:
    notebook = tmp_path / NOTEBOOK.name
    shutil.copy(NOTEBOOK, notebook)
    command = [str(Path(sys.executable).with_name("jupyter-execute")), "--inplace", str(notebook)]
    done = subprocess.run(
        [*command, f"--timeout={PATIENCE_SECONDS:.0f}", f"--startup_timeout={PATIENCE_SECONDS:.0f}"],
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
    figures = [output["data"][FIGURE] for output in outputs if FIGURE in output.get("data", {})]
    assert [bool(figure["data"]) for figure in figures] == [True] * 6
    assert sum("text/html" in output.get("data", {}) and FIGURE not in output["data"] for output in outputs) == 3
    assert "% saved" in "".join(outputs[-1]["text"])


def test_it_looks_at_the_job_that_the_environment_names(
    server: ServerProcess, client: Client, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.register_job(job_id, JobSettings(batch_sizes=[32], default_batch_size=32, max_epochs=1))
    with client.trial(job_id, client.get_job(job_id).settings, Gpu(model="V100")) as trial:
        trial.report(0.5)
    monkeypatch.setenv("RHEOSTAT_URL", server.url)
    monkeypatch.setenv("RHEOSTAT_JOB", job_id)
    first, table, *_ = ("".join(cell["source"]) for cell in code_cells(NOTEBOOK))
    names: dict[str, Any] = {}
    exec(first, names)
    exec(table, names)
    names["until_the_end"].close()
    assert list(names["trials"]["state"]) == ["converged"]


def test_it_is_committed_without_outputs() -> None:
    assert [(cell["outputs"], cell["execution_count"]) for cell in code_cells(NOTEBOOK)] == [
        ([], None) for _ in code_cells(NOTEBOOK)
    ]
