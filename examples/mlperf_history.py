"""Turns the logs of MLPerf Training results into a history for `rheostat jobs import`.

    python examples/mlperf_history.py --gpu "NVIDIA A100-SXM4-80GB" --gpu-count 8 result_*.txt > history.csv
    rheostat jobs import history.csv --job resnet

A log's lines are `:::MLLOG {json}` (https://github.com/mlcommons/logging). They have times and no energy.
"""

import csv
import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COLUMNS = ("run", "batch_size", "gpu_model", "gpu_count", "time_seconds", "converged", "epochs", "curve")
MARK = ":::MLLOG"


def events(log: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a log."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            _, mark, text = line.partition(MARK)
            if mark:
                yield json.loads(text)


def run_of(log: Path, gpu_model: str, gpu_count: int) -> dict[str, object] | None:
    """Return the run of a log as a row of the history; None when the log does not have all of it."""
    values: dict[str, Any] = {}
    times: dict[str, float] = {}
    curve: dict[float, float] = {}
    status = ""
    for event in events(log):
        key, value, metadata = event["key"], event.get("value"), event.get("metadata") or {}
        if key in ("global_batch_size", "train_samples"):
            values[key] = value
        elif key in ("run_start", "run_stop"):
            times[key] = event["time_ms"] / 1000
            status = metadata.get("status", status)
        elif key == "eval_accuracy":
            epoch = metadata.get("epoch_num")
            if epoch is None and "samples_count" in metadata and values.get("train_samples"):
                epoch = metadata["samples_count"] / values["train_samples"]
            if epoch:
                curve[float(epoch)] = float(value)
    if "global_batch_size" not in values or times.keys() != {"run_start", "run_stop"} or not curve:
        return None
    return {
        "run": log.name,
        "batch_size": values["global_batch_size"],
        "gpu_model": gpu_model,
        "gpu_count": gpu_count,
        "time_seconds": times["run_stop"] - times["run_start"],
        "converged": "true" if status == "success" else "false",
        "epochs": max(curve),
        "curve": ";".join(f"{epoch:g}:{curve[epoch]:g}" for epoch in sorted(curve)),
    }


def main() -> None:
    """Write the history of the logs to standard output."""
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("logs", nargs="+", type=Path)
    parser.add_argument("--gpu", required=True, help="model of the GPUs")
    parser.add_argument("--gpu-count", type=int, default=1)
    arguments = parser.parse_args()
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for log in arguments.logs:
        row = run_of(log, arguments.gpu, arguments.gpu_count)
        if row is None:
            sys.stderr.write(f"{log}: left out: it lacks the batch size, the start or end of the run, or evaluations\n")
        else:
            writer.writerow(row)


if __name__ == "__main__":
    main()
