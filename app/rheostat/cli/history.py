"""The command that imports runs of before."""

from pathlib import Path
from typing import Annotated

import typer

from rheostat.cli.admin import DatabaseUrl, open_from_settings


def import_runs(
    file: Annotated[Path, typer.Argument(help="CSV file with one run a line.", exists=True, dir_okay=False)],
    job: Annotated[
        str | None, typer.Option(help="The job of all runs. (Default: as the column job says.)", show_default=False)
    ] = None,
    database_url: DatabaseUrl = None,
    namespace: Annotated[
        str | None, typer.Option(help="Namespace of the jobs. (Default: default.)", show_default=False)
    ] = None,
) -> None:
    """Import runs of before, so that a job does not begin without knowledge; a second time changes nothing.

    Columns: batch_size, gpu_model; energy_joules and time_seconds, or one of them, or cost; and optionally job, run (a
    name that identifies it), gpu_count, gpu_min_power_limit_watts, gpu_max_power_limit_watts, power_limit_watts,
    converged (true or false), epochs, and curve (1:0.52;2:0.61: epoch and metric of each evaluation).
    """
    from rheostat.service.history_import import import_history

    with open_from_settings(database_url, namespace=namespace) as service:
        for job_id, count in import_history(service, file, job).items():
            typer.echo(f"{job_id}: {count} {'run is' if count == 1 else 'runs are'} recorded")
