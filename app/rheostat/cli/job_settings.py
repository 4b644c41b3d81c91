"""`rheostat jobs set | delete`: change or delete a job in the database."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from rheostat.cli.admin import DatabaseUrl, NamespaceOption, open_from_settings
from rheostat.cli.progress import ProgressLine, interruptible
from rheostat.errors import ConfigurationError

if TYPE_CHECKING:
    from rheostat.schemas.server import Target


def set_job(
    job_id: str,
    changes: Annotated[
        list[str],
        typer.Argument(
            metavar="SETTING=VALUE...",
            help="max_epochs=60, target='accuracy>=0.97', batch_sizes=32,64,128; or JSON; null: none.",
            show_default=False,
        ),
    ],
    database_url: DatabaseUrl = None,
    namespace: NamespaceOption = None,
) -> None:
    """Change settings of a job; what it has learned is derived again.

    After a change of the target, earlier runs count where their evaluations show when they reached it.
    """
    from rheostat import service as use_cases
    from rheostat.schemas.server import JobUpdate

    values = dict(map(_setting, changes))
    if unknown := [name for name in values if name not in JobUpdate.model_fields]:
        raise ConfigurationError(
            f"{', '.join(unknown)}: no setting that can be changed.",
            hint=f"These can be: {', '.join(JobUpdate.model_fields)}.",
        )
    if isinstance(bare := values.get("target"), int | float):
        with open_from_settings(database_url, create=False, namespace=namespace) as service:
            raise _no_metric(bare, use_cases.get_job(service, job_id).settings.target)
    try:
        update = JobUpdate.model_validate_json(json.dumps(values))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)]
        raise ConfigurationError(f"{'; '.join(problems)}.") from error
    with open_from_settings(database_url, namespace=namespace) as service:
        detail = use_cases.update_job(service, job_id, update).result().answer
    changed = detail.settings.model_dump(mode="json", include=set(values))
    typer.echo(f"{job_id}: {json.dumps(changed)}")


def _no_metric(value: float, today: "Target | None") -> ConfigurationError:
    """Return the error of a target that is a number alone, with what to write: the job's own metric, if it has one."""
    metric, direction = ("accuracy", "maximize") if today is None else (today.metric, today.direction)
    written = f"target={metric}{'>=' if direction == 'maximize' else '<='}{value:g}"
    return ConfigurationError(f"target={value:g} names no metric.", hint=f"Write it as {written!r}.")


def delete_job(
    job_id: str,
    *,
    force: Annotated[bool, typer.Option("--force", help="Also while trials run.")] = False,
    database_url: DatabaseUrl = None,
    namespace: NamespaceOption = None,
) -> None:
    """Delete a job with all that was learned from it."""
    from rheostat import service as use_cases
    from rheostat.service.operations import finish_deletion

    with open_from_settings(database_url, namespace=namespace) as service, interruptible() as stop:
        use_cases.delete_job(service, job_id, force=force).result()
        typer.echo(f"{job_id}: deleted")
        with ProgressLine("deleting its rows") as line:
            finish_deletion(service, stop, line.show)
        if stop.is_set():
            typer.echo("interrupted; a server deletes the rest of its rows, or the next `rheostat db prune`", err=True)


def _setting(text: str) -> tuple[str, object]:
    from rheostat.launch.settings import target, whole_numbers

    name, sign, value = text.partition("=")
    name = name.replace("-", "_")  # as the options of `rheostat run` are written
    if not sign:
        raise ConfigurationError(f"{text!r} is not of the form setting=value.", hint="Example: max_epochs=60.")
    try:
        return name, json.loads(value)
    except ValueError:
        if name == "target":
            return name, target(value)
        if name in ("batch_sizes", "power_limits_watts"):
            return name, whole_numbers(name, value)
        return name, value
