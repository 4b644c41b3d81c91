"""The example that turns MLPerf logs into a history, and its import."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rheostat import service as use_cases
from rheostat.service import Service
from rheostat.service.history_import import import_history
from tests.domain.examples import JOB
from tests.service.examples import register
from tests.waiting import PATIENCE_SECONDS

EXAMPLE = Path(__file__).parents[2] / "examples" / "mlperf_history.py"


def log(path: Path, batch_size: int, metrics: list[float], status: str, **metadata: Any) -> Path:
    """Write a log in the format of MLPerf Training, with an evaluation every two epochs of 20 s."""

    def line(key: str, seconds: float, value: object, **metadata: object) -> str:
        event = {"namespace": "", "time_ms": int(1000 * seconds), "event_type": "POINT_IN_TIME", "key": key}
        return f"0: :::MLLOG {json.dumps(event | {'value': value, 'metadata': metadata})}\n"

    text = "Loading ...\n" + line("global_batch_size", 0, batch_size) + line("train_samples", 0, 1000)
    text += line("run_start", 10, None)
    for at, metric in enumerate(metrics, start=1):
        where = {"epoch_num": 2 * at} if not metadata else {"samples_count": 2000 * at}
        text += line("eval_accuracy", 10 + 40 * at, metric, **where)
    path.write_text(text + line("run_stop", 10 + 40 * len(metrics), None, status=status))
    return path


def converted(*logs: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLE), "--gpu", "V100", "--gpu-count", "4", *map(str, logs)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True)


def test_the_runs_of_logs_become_a_history(tmp_path: Path, service: Service) -> None:
    first = log(tmp_path / "result_0.txt", 32, [0.5, 0.8, 0.91], "success")
    second = log(tmp_path / "result_1.txt", 64, [0.4, 0.6], "aborted", by_samples=True)
    (tmp_path / "result_2.txt").write_text("Killed\n")
    made = converted(first, second, tmp_path / "result_2.txt")
    assert made.stdout.splitlines() == [
        "run,batch_size,gpu_model,gpu_count,time_seconds,converged,epochs,curve",
        "result_0.txt,32,V100,4,120.0,true,6.0,2:0.5;4:0.8;6:0.91",
        "result_1.txt,64,V100,4,80.0,false,4.0,2:0.4;4:0.6",
    ]
    assert "result_2.txt: left out" in made.stderr
    history = tmp_path / "history.csv"
    history.write_text(made.stdout)
    register(service, policy="rheostat", max_epochs=20)
    assert import_history(service, history, JOB) == {JOB: 2}
    arms = {arm.batch_size: arm for arm in use_cases.estimates(service, JOB).placements[0].arms}
    assert (arms[32].runs, arms[64].runs) == (1, 1)
    assert arms[32].epochs == pytest.approx(6, rel=0.1)
