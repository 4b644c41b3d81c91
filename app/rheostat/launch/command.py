"""The commands ``rheostat run`` and ``rheostat measure``. They import lazily, so that the command line starts fast."""

# ruff: noqa: PLC0415

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rheostat.printable import PrintableFormatter, printable

if TYPE_CHECKING:
    from rheostat.sdk.run_gpus import NamedGpus

REFUSED = 125
"""Exit code when nothing was run, as of `env` and `timeout`."""

Arguments = Annotated[list[str], typer.Argument(help="The command with its arguments.", show_default=False)]
Gpus = Annotated[
    str | None,
    typer.Option(
        help="Numbers or UUIDs of the GPUs. (Default: RHEOSTAT_GPUS, else CUDA_VISIBLE_DEVICES, else the first.)",
        show_default=False,
        rich_help_panel="Hardware",
    ),
]
_setting = partial(typer.Option, show_default=False, rich_help_panel="Settings of the job")
_metric = partial(typer.Option, rich_help_panel="Where to read the metric")
_survey = partial(typer.Option, rich_help_panel="Survey before the first run")
_hardware = partial(typer.Option, rich_help_panel="Hardware")
_end = partial(typer.Option, rich_help_panel="How to end the command")


def _job_name(name: str) -> str:
    """Refuse a name that no job can have, as any other mistake on the command line."""
    from rheostat.errors import ConfigurationError
    from rheostat.sdk.server import checked_job_id

    try:
        return checked_job_id(name)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from None


class FirstRun(StrEnum):
    """Which batch size the first run has."""

    PREDICTED = "predicted"
    DEFAULT = "default"


class Scaling(StrEnum):
    """How the learning rate scales with the batch size."""

    LINEAR = "linear"
    SQRT = "sqrt"
    NONE = "none"


def run(
    *,
    command: Arguments,
    job: Annotated[
        str, typer.Option(help="Name of the job, the same in every run.", show_default=False, callback=_job_name)
    ],
    power_only: Annotated[
        bool,
        _setting("--power-only", help="Leave the batch size as it is, and choose the power limit; needs no setting."),
    ] = False,
    config: Annotated[Path | None, _setting(help="TOML file with these settings.")] = None,
    batch_sizes: Annotated[str | None, _setting(help="Batch sizes that may be tried: 32,64,128.")] = None,
    default_batch_size: Annotated[int | None, _setting(help="The batch size that you would use otherwise.")] = None,
    target: Annotated[str | None, _setting(help="Target metric: 'accuracy>=0.96' or 'loss<=0.3'.")] = None,
    max_epochs: Annotated[
        int | None, _setting(help="A run that has not reached its target by then has failed.")
    ] = None,
    learning_rate: Annotated[float | None, _setting(help="Learning rate at the default batch size.")] = None,
    lr_scaling: Annotated[Scaling | None, _setting(help="How it scales with the batch size.")] = None,
    eta_knob: Annotated[float | None, _setting(help="Weight of energy against time, 0 to 1.")] = None,
    beta_knob: Annotated[
        float | None, _setting(help="A run is stopped at this multiple of the lowest cost; 0: never.")
    ] = None,
    diverged_after: Annotated[
        int | None, _setting(help="A run has failed after so many metrics in a row that are NaN or infinite; 0: never.")
    ] = None,
    max_slowdown: Annotated[
        float | None, _setting(help="Longest epoch allowed; 1.1: 10 % longer than at the fastest power limit.")
    ] = None,
    power_limits: Annotated[str | None, _setting(help="Power limits that may be set: 150,200,250.")] = None,
    power_limit_step: Annotated[
        int | None, _setting(help="Step through the GPU's range of power limits, in watts.")
    ] = None,
    first_run: Annotated[
        FirstRun | None, _setting(help="Batch size of the first run: as a survey predicts, or the default.")
    ] = None,
    exploration_budget: Annotated[
        float | None, _setting(min=0, help="Runs of the default that exploring may lose; 0: never explore.")
    ] = None,
    policy: Annotated[str | None, _setting(help="Name of the policy.")] = None,
    window_size: Annotated[int | None, _setting(help="Number of latest runs that count; 0: all.")] = None,
    seed: Annotated[int | None, _setting(help="Random seed of the decisions.")] = None,
    metric_pattern: Annotated[
        str | None,
        _metric(
            help="Line of output with the metric: 'val_acc={metric}'; the rest is a regular expression.",
            show_default=False,
        ),
    ] = None,
    metrics_file: Annotated[
        str | None,
        _metric(
            help="JSON, JSON lines or CSV with the metric under its name, and optionally epoch; with * or ? the newest "
            "file of such a name; -: records in the output.",
            show_default=False,
        ),
    ] = None,
    first_epoch: Annotated[
        float | None,
        _metric(help="The number of the command's first epoch. (Default: 0 or 1.)", show_default=False),
    ] = None,
    step_pattern: Annotated[
        str | None,
        _survey(
            help="Line of output that tells of a training step, as 'step {step}': the command first runs at each batch "
            "size for some seconds.",
            show_default=False,
        ),
    ] = None,
    examples_per_epoch: Annotated[
        float | None, _survey(min=1, help="Size of the data set, if you know it; for {step}, too.", show_default=False)
    ] = None,
    survey_seconds: Annotated[
        float | None, _survey(min=0, help="How long the survey may take in total. (Default: 120.)", show_default=False)
    ] = None,
    gpus: Gpus = None,
    gpu: Annotated[
        str | None,
        _hardware(
            help="Model and range of power limits, as 'Tesla V100:100-250'. (Default: as agent or driver say.)",
            show_default=False,
        ),
    ] = None,
    gpu_count: Annotated[int, _hardware(min=1, help="Number of GPUs, with --gpu.")] = 1,
    max_batch_size: Annotated[
        int | None, _hardware(min=1, help="Largest batch size that fits this machine.", show_default=False)
    ] = None,
    stop_signal: Annotated[str, _end(help="Signal that asks the command to end.")] = "SIGTERM",
    oom_pattern: Annotated[
        list[str] | None,
        _end(
            help="Line of output that says that memory ran out, as a regular expression; besides those that are known.",
            show_default=False,
        ),
    ] = None,
    stop_grace: Annotated[float, _end(min=0, help="Seconds from that signal to SIGKILL.")] = 30,
    server: Annotated[
        str | None,
        typer.Option(
            envvar="RHEOSTAT_URL", help="Address of the server. (Default: http://127.0.0.1:8420.)", show_default=False
        ),
    ] = None,
    server_patience: Annotated[
        float, typer.Option(min=0, help="Seconds to retry before the run goes on without the server.")
    ] = 10,
    key: Annotated[
        str | None,
        typer.Option(help="Identifies this run: a restart with the same key is the same trial.", show_default=False),
    ] = None,
    resume_key: Annotated[
        str | None,
        typer.Option(help="Key of the earlier run whose checkpoint this one goes on from.", show_default=False),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(help="What else the run is known by, as mlflow_run=7: shown with it, searchable; repeatable."),
    ] = None,
    on_conflict: Annotated[
        Literal["keep", "update"],
        typer.Option(help="Settings that differ from the registered ones: keep these, or update them."),
    ] = "keep",
    on_used_key: Annotated[
        Literal["error", "new"],
        typer.Option(help="What a --key means whose trial has ended: an error, or a new trial."),
    ] = "error",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print warnings and errors only.")] = False,
) -> None:
    """Run any training command with the batch size and power limit of the lowest cost.

    In its arguments {batch_size}, {per_device_batch_size}, {learning_rate}, {epochs}, {seed} and {trial_id} are
    replaced; its environment has them as RHEOSTAT_BATCH_SIZE and so on. A job that is registered needs no settings.
    """
    from rheostat.errors import RheostatError
    from rheostat.launch import settings as reading
    from rheostat.launch.executables import why_not_run
    from rheostat.launch.plan import LaunchPlan, check, check_without_batch_size
    from rheostat.launch.run import run_trial
    from rheostat.launch.signals import signal_number
    from rheostat.sdk.client import Client
    from rheostat.sdk.tags import read_tags

    _log_to_stderr(quiet=quiet)
    if (problem := why_not_run(command[0])) is not None:
        raise _refused(*problem)
    try:
        options = {
            "batch_sizes": reading.whole_numbers("--batch-sizes", batch_sizes),
            "default_batch_size": default_batch_size,
            "target": reading.target(target),
            "max_epochs": max_epochs,
            "learning_rate.default": learning_rate,
            "learning_rate.scaling": None if lr_scaling is None else lr_scaling.value,
            "eta_knob": eta_knob,
            "beta_knob": beta_knob,
            "diverged_after_reports": diverged_after,
            "max_slowdown": max_slowdown,
            "power_limits_watts": reading.whole_numbers("--power-limits", power_limits),
            "power_limit_step_watts": power_limit_step,
            "first_run": None if first_run is None else first_run.value,
            "exploration_budget_runs": exploration_budget,
            "policy": policy,
            "window_size": window_size,
            "survey_seconds": survey_seconds,
            "seed": seed,
        }
        given = reading.given_settings(options, config, power_only=power_only)
        plan = LaunchPlan(
            command,
            metrics_file,
            metric_pattern,
            first_epoch,
            signal_number(stop_signal),
            stop_grace,
            step_pattern=step_pattern,
            oom_patterns=oom_pattern or (),
            examples_per_epoch=examples_per_epoch,
        )
        if power_only and not (batch_sizes or default_batch_size or config):
            check_without_batch_size(plan)
        described = reading.gpu(gpu, gpu_count)
        with Client(server, retry_for_seconds=server_patience) as client:
            settings = given or reading.registered_settings(client, job)
            check(settings, plan)
            trial = client.trial(
                job,
                settings,
                described,
                gpus=_named(gpus),
                max_batch_size=max_batch_size,
                idempotency_key=key,
                resumes=resume_key,
                on_conflict=on_conflict,
                on_used_key=on_used_key,
                examples_per_epoch=examples_per_epoch,
                tags=read_tags(tag or ()),
            )
            code = run_trial(trial, job, settings, plan)
    except RheostatError as error:
        raise _refused(str(error), REFUSED) from None
    raise typer.Exit(code)


def measure(
    *,
    command: Arguments,
    gpus: Gpus = None,
    json: Annotated[
        bool, typer.Option("--json", help="Write one line of JSON, after the command's output to stdout.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Write the result to this file instead.", show_default=False)
    ] = None,
) -> None:
    """Run any command and tell its time and the energy of each GPU; no server, no job, and no limit is set.

    The energy comes from the node's agent; without one it is unknown, and the reason is told.
    """
    from rheostat.errors import RheostatError
    from rheostat.launch.endings import NOT_EXECUTABLE
    from rheostat.launch.executables import why_not_run
    from rheostat.launch.measure import as_json, summary
    from rheostat.launch.measure import measure as measure_command
    from rheostat.sdk.node_agent import NodeAgent

    if (problem := why_not_run(command[0])) is not None:
        raise _refused(*problem)
    try:
        # Opened first: what cannot be written must not be found out after hours.
        file = None if output is None else output.open("w")
    except OSError as error:
        raise _refused(f"{output} cannot be written: {error.strerror}.", REFUSED) from None
    try:
        with NodeAgent() as agent:
            result = measure_command(command, _named(gpus), agent)
    except RheostatError as error:
        raise _refused(str(error), REFUSED) from None
    except OSError as error:
        raise _refused(f"{command[0]} cannot be run: {error.strerror}.", NOT_EXECUTABLE) from None
    text = as_json(result) if json else "\n".join(f"rheostat: {line}" for line in summary(result))
    typer.echo(text, file, err=not json)
    raise typer.Exit(result.exit_code)


def _refused(why: str, code: int) -> typer.Exit:
    typer.secho(f"rheostat: {printable(why)}", fg="red", err=True)
    return typer.Exit(code)


def _named(gpus: str | None) -> "NamedGpus":
    return "visible" if gpus is None else gpus.split(",")


def _log_to_stderr(*, quiet: bool) -> None:
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("rheostat: %(message)s"))
    logging.basicConfig(handlers=[handler])
    if not quiet:
        logging.getLogger("rheostat.launch").setLevel(logging.INFO)
