"""`rheostat jobs pin | unpin | pause | resume | force`: an operator's control of a job in the database."""

from typing import Annotated

import typer

from rheostat.cli.admin import DatabaseUrl, NamespaceOption, open_from_settings

BatchSizeArgument = Annotated[int, typer.Argument(min=1, help="One of the job's batch sizes.")]
PowerLimit = Annotated[
    int | None,
    typer.Option(min=1, help="Power limit of one GPU in watts. (Default: as the policy says.)", show_default=False),
]
Reason = Annotated[str | None, typer.Option(help="Why, for those who read the reasons of trials.", show_default=False)]


def pin_job(
    job_id: str,
    batch_size: BatchSizeArgument,
    *,
    power_limit: PowerLimit = None,
    reason: Reason = None,
    database_url: DatabaseUrl = None,
    namespace: NamespaceOption = None,
) -> None:
    """Let every trial train with one batch size until the job is unpinned."""
    from rheostat import service as use_cases
    from rheostat.schemas.control import OrderRequest

    order = OrderRequest(batch_size=batch_size, power_limit_watts=power_limit, reason=reason)
    with open_from_settings(database_url, namespace=namespace) as service:
        use_cases.pin_job(service, job_id, order).result()
    typer.echo(f"{job_id}: pinned to batch size {batch_size}; `rheostat jobs unpin {job_id}` ends it")


def unpin_job(job_id: str, database_url: DatabaseUrl = None, namespace: NamespaceOption = None) -> None:
    """Leave the choice of the batch size to the policy again."""
    from rheostat import service as use_cases

    with open_from_settings(database_url, namespace=namespace) as service:
        use_cases.unpin_job(service, job_id).result()
    typer.echo(f"{job_id}: not pinned")


def pause_job(
    job_id: str, reason: Reason = None, database_url: DatabaseUrl = None, namespace: NamespaceOption = None
) -> None:
    """Pause exploring: trials run the best known batch size under the best known power limit."""
    from rheostat import service as use_cases
    from rheostat.schemas.control import PauseRequest

    with open_from_settings(database_url, namespace=namespace) as service:
        use_cases.pause_job(service, job_id, PauseRequest(reason=reason)).result()
    typer.echo(f"{job_id}: exploring is paused; `rheostat jobs resume {job_id}` ends it")


def resume_job(job_id: str, database_url: DatabaseUrl = None, namespace: NamespaceOption = None) -> None:
    """Let the policy explore again."""
    from rheostat import service as use_cases

    with open_from_settings(database_url, namespace=namespace) as service:
        use_cases.resume_job(service, job_id).result()
    typer.echo(f"{job_id}: exploring is not paused")


def force_job(
    job_id: str,
    batch_size: Annotated[
        int | None, typer.Argument(min=1, help="One of the job's batch sizes.", show_default=False)
    ] = None,
    *,
    power_limit: PowerLimit = None,
    reason: Reason = None,
    cancel: Annotated[bool, typer.Option("--cancel", help="Withdraw it, if no trial has taken it yet.")] = False,
    database_url: DatabaseUrl = None,
    namespace: NamespaceOption = None,
) -> None:
    """Let the next trial train with one batch size, once."""
    from rheostat import service as use_cases
    from rheostat.schemas.control import OrderRequest

    if (batch_size is None) != cancel:
        raise typer.BadParameter("give either a batch size or --cancel")
    with open_from_settings(database_url, namespace=namespace) as service:
        if batch_size is None:
            use_cases.unforce_job(service, job_id).result()
        else:
            order = OrderRequest(batch_size=batch_size, power_limit_watts=power_limit, reason=reason)
            use_cases.force_job(service, job_id, order).result()
    typer.echo(f"{job_id}: " + ("nothing is forced" if cancel else f"the next trial trains with {batch_size}"))
