"""Past runs from a spreadsheet: the first run of a job need not begin without knowledge.

    rheostat serve &                                               # once, in another terminal
    python examples/import_history.py examples/past_runs.csv --gpu "Tesla V100-SXM2-32GB"

Each line of the table is sent to the server as a run; a second time changes nothing, so a table that grows can be sent
every night. It prints what is known now of each batch size. The runs of past_runs.csv are made up: put your own table
in its place, and your columns into `run_of`. The GPU's name must be that of later runs, as `nvidia-smi -L` shows it.

Needs: pip install .. Without a server nothing is sent, and an error says so. On the server's own machine a table
with the columns of docs/history.md needs no program: `rheostat jobs import`.
"""

import csv
from argparse import ArgumentParser
from pathlib import Path

from rheostat import Client, Gpu, JobSettings, Target
from rheostat.errors import RheostatError
from rheostat.schemas.trials import ObserveRunRequest

JOB = "weekly-retrain"
SETTINGS = JobSettings(  # what the trainer passes to `client.trial`, so that its first run finds the job known
    batch_sizes=[32, 64, 128, 256, 512],
    default_batch_size=64,
    target=Target(metric="accuracy", value=0.96, direction="maximize"),
    max_epochs=30,
)


def run_of(line: dict[str, str], gpu: Gpu) -> ObserveRunRequest:
    """Return the run of a line of the table."""
    epochs, accuracy = float(line["epochs"]), float(line["accuracy"])
    return ObserveRunRequest(
        batch_size=int(line["batch size"]),
        gpu=gpu,
        energy_joules=float(line["kWh"]) * 3_600_000,
        time_seconds=float(line["hours"]) * 3600,
        epochs=epochs,
        curve=[[epochs, accuracy]],  # by which it reached the target or not; give all evaluations if you have them
    )


def main() -> None:
    """Send the table, and print what is known then."""
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", type=Path, help="CSV file")
    parser.add_argument("--gpu", required=True, help="model of the GPUs, as `nvidia-smi -L` shows it")
    parser.add_argument("--gpu-count", type=int, default=1)
    arguments = parser.parse_args()
    gpu = Gpu(model=arguments.gpu, count=arguments.gpu_count)
    with Client() as client, arguments.table.open(newline="") as table:
        client.register_job(JOB, SETTINGS)
        for line in csv.DictReader(table):
            client.observe_run(JOB, run_of(line, gpu), idempotency_key=f"{JOB}-{line['finished']}")  # sent once
        for placement in client.estimates(JOB).placements:
            print(f"{JOB} on {placement.gpu.model}:")
            for arm in placement.arms:
                if arm.runs:
                    print(f"  batch size {arm.batch_size}: {arm.runs} runs, {arm.epochs or 0:.1f} epochs expected")


if __name__ == "__main__":
    try:
        main()
    except RheostatError as error:
        raise SystemExit(str(error)) from None
