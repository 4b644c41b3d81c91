"""The command that imports runs of before."""

from pathlib import Path
from typing import Annotated

import typer

from rheostat.cli.admin import DatabaseUrl, open_from_settings
from rheostat.errors import ConfigurationError, JobNotFound


def import_runs(
    file: Annotated[Path, typer.Argument(help="CSV file with one run a line.", exists=True, dir_okay=False)],
    job: Annotated[
        str | None, typer.Option(help="The job of all runs. (Default: as the column job says.)", show_default=False)
    ] = None,
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file with the job's settings, as of `rheostat run`: registers --job first.", show_default=False
        ),
    ] = None,
    gpu_model: Annotated[
        str | None, typer.Option(help="GPU of the runs that name none in the column gpu_model.", show_default=False)
    ] = None,
    gpu_count: Annotated[int, typer.Option(help="Their number where the column gpu_count does not say.", min=1)] = 1,
    database_url: DatabaseUrl = None,
    namespace: Annotated[
        str | None, typer.Option(help="Namespace of the jobs. (Default: default.)", show_default=False)
    ] = None,
) -> None:
    """Import runs of before, so that a job does not begin without knowledge; a second time changes nothing.

    Columns: batch_size, gpu_model; energy_joules and time_seconds, or one of them, or cost; and optionally job, run (a
    name that identifies it), gpu_count, gpu_min_power_limit_watts, gpu_max_power_limit_watts, power_limit_watts,
    converged (true or false), epochs, metric (at the end), and curve (1:0.52;2:0.61: of each evaluation).

    Example: rheostat jobs import past.csv --job nightly --config job.toml --gpu-model 'Tesla V100-SXM2-32GB'
    """
    from rheostat import service as use_cases
    from rheostat.launch.settings import given_settings
    from rheostat.service.history_import import import_history

    settings = given_settings({}, config)
    if settings is not None and job is None:
        raise ConfigurationError("--config needs the name of the job.", hint="Add --job NAME.")
    defaults = {"gpu_count": str(gpu_count)} | ({} if gpu_model is None else {"gpu_model": gpu_model})
    with open_from_settings(database_url, create=True, namespace=namespace) as service:
        if settings is not None and job is not None:
            use_cases.register_job(service, job, settings).result()
        try:
            counts = import_history(service, file, job, defaults)
        except JobNotFound as error:
            raise JobNotFound(error.message, hint="Register it first: --job NAME --config job.toml.") from error
        for job_id, count in counts.items():
            typer.echo(f"{job_id}: {count} {'run is' if count == 1 else 'runs are'} recorded")
