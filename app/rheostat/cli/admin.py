"""The operator's commands for tokens, the audit trail and the database.

They import what they need when they run, so that the command line starts fast, and starts with the SDK alone.
"""

# ruff: noqa: PLR0917

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rheostat.cli.progress import ProgressLine, interruptible
from rheostat.cli.words import counted, say_if_none
from rheostat.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import datetime

    from rheostat.service import Service

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        help="SQLite or PostgreSQL URL. (Default: RHEOSTAT_DATABASE_URL, else an SQLite file in your state directory.)",
        show_default=False,
    ),
]

NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", help="Namespace of the jobs. (Default: default.)", show_default=False)
]

_NO_LEASE = timedelta(days=36_500)
"""Leases are the servers'. Their length is unknown here, so none ends too late."""

_INTERRUPTED = 130
"""As shells report the end of a program by Ctrl-C."""

token = typer.Typer(help="Create, list and revoke the tokens that authenticate clients.", no_args_is_help=True)


@contextmanager
def open_from_settings(
    database_url: str | None, *, upgrade: bool = True, create: bool = False, namespace: str | None = None
) -> "Iterator[Service]":
    """Open the service with the settings of the environment, as the user of this command line.

    Only what works before a server has run creates a database: a wrong path is named, not filled.
    """
    from dataclasses import replace
    from getpass import getuser

    from rheostat.api.settings import load_settings
    from rheostat.schemas.fields import NAMESPACE, NAMESPACE_PATTERN
    from rheostat.service.operations import default_database_url, open_service

    if namespace is not None and NAMESPACE.fullmatch(namespace) is None:
        raise ConfigurationError(f"{namespace!r} is not a valid namespace.", hint=f"It must match {NAMESPACE_PATTERN}.")
    settings = load_settings(database_url=database_url)
    url = os.environ.get("RHEOSTAT_URL")
    if url and settings.database_url is None and not create:
        place = default_database_url().removeprefix("sqlite:///")
        typer.echo(
            f"Uses the database {place} itself, not the server at {url}: open that in a browser, "
            "or name its database with --database-url.",
            err=True,
        )
    password = settings.database_password
    service = open_service(
        settings.database_url,
        _NO_LEASE,
        upgrade=upgrade,
        create=create,
        password=None if password is None else password.get_secret_value(),
    )
    try:
        user = getuser()
    except (KeyError, OSError):  # in a container a user may have no name
        user = "?"
    try:
        service = replace(service, actor=f"{user} (command line)")
        yield service if namespace is None else replace(service, namespace=namespace)
    finally:
        service.close()


@token.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="Name of the owner: ci, team-vision.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="trainer: run jobs; read: read only; admin: everything. (Default: trainer and read.)"),
    ] = None,
    namespace: Annotated[
        str | None, typer.Option(help="The only namespace that it may access. (Default: the default one.)")
    ] = None,
    expires_in_days: Annotated[
        float | None, typer.Option(min=0.0, help="Days until it expires. (Default: never.)")
    ] = None,
    from_file: Annotated[
        Path | None, typer.Option(help="Register the token in this file; may be repeated. (Default: a new token.)")
    ] = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Create a token and print it; it cannot be shown again."""
    from rheostat.service import tokens

    given = None if from_file is None else _secret_in(from_file)
    lifetime = None if expires_in_days is None else timedelta(days=expires_in_days)
    with open_from_settings(database_url, create=True) as service:
        text, is_new = tokens.create_token(
            service, name, scope or ["trainer", "read"], namespace=namespace, lifetime=lifetime, token=given
        )
    if from_file is None:
        typer.echo(text)
    else:
        typer.echo(f"the token in {from_file} {'is registered now' if is_new else 'was registered before'}")


@token.command("generate")
def generate_token() -> None:
    """Print a new token without registering it, for a file of secrets: see create --from-file."""
    from rheostat.service.tokens import new_token

    typer.echo(new_token())


@token.command("list")
def list_tokens(database_url: DatabaseUrl = None) -> None:
    """List all tokens, without their secrets."""
    from rheostat.service import tokens

    with open_from_settings(database_url) as service:
        views = tokens.list_tokens(service)
        say_if_none(len(views), "There are no tokens; make one with: rheostat token create NAME.")
        for view in views:
            words = (
                view.token_id,
                view.name,
                "+".join(view.scopes),
                f"namespace {view.namespace or '-'}",
                view.state,
                f"expires {_moment(view.expires_at)}",
                f"used {_moment(view.last_used_at)}",
            )
            typer.echo("\t".join(words))


@token.command("revoke")
def revoke_token(
    token_id: Annotated[str, typer.Argument(help="See `rheostat token list`.")], database_url: DatabaseUrl = None
) -> None:
    """Revoke a token; running servers refuse it within seconds."""
    from rheostat.service import tokens

    with open_from_settings(database_url) as service:
        tokens.revoke_token(service, token_id)
    typer.echo(f"{token_id}: revoked")


def audit(
    namespace: Annotated[str | None, typer.Option(help="Only entries of this namespace.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Number of latest entries.")] = 50,
    database_url: DatabaseUrl = None,
) -> None:
    """List who registered, changed and deleted what, newest first."""
    import json

    from rheostat.service.audit import list_audit

    with open_from_settings(database_url) as service:
        entries = list_audit(service, namespace=namespace, cursor=None, limit=limit).entries
        say_if_none(len(entries), "Nobody has changed anything yet.")
        for entry in entries:
            details = json.dumps(entry.details, sort_keys=True) if entry.details else ""
            words = (_moment(entry.at), entry.namespace or "-", entry.actor, entry.action, entry.subject, details)
            typer.echo("\t".join(words).rstrip())


def back_up_database(
    path: Annotated[Path, typer.Argument(help="File to write; it must not exist.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Back up the database while it is in use; PostgreSQL with pg_dump."""
    from rheostat.service.operations import back_up

    with open_from_settings(database_url, upgrade=False) as service:
        back_up(service, path)
    typer.echo(f"backup written: {path}")


def restore_database(
    path: Annotated[Path, typer.Argument(help="File that `rheostat db backup` wrote.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Replace the content of the database by a backup; stop the servers first."""
    from rheostat.service.operations import restore

    with open_from_settings(database_url, upgrade=False, create=True) as service:
        kept = restore(service, path)
    typer.echo(f"restored: {path}" + ("" if kept is None else f"; the previous content is in {kept}"))


def prune_database(
    keep_days: Annotated[float, typer.Option(min=0.0, help="Reports of trials that ended in this many days are kept.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Delete the reports of trials that ended long ago; estimates and savings do not change."""
    from rheostat.service.operations import finish_deletion, prune

    with open_from_settings(database_url) as service, interruptible() as stop:
        with ProgressLine("deleting the rows of deleted jobs") as line:
            finish_deletion(service, stop, line.show)
        with ProgressLine("deleting reports") as line:
            deleted = prune(service, timedelta(days=keep_days), stop, line.show)
    typer.echo(f"deleted {counted(deleted, 'report')}")
    if stop.is_set():
        typer.echo("interrupted: run the same command again to go on", err=True)
        raise typer.Exit(_INTERRUPTED)


def _secret_in(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The token in {path} cannot be read: {error}.") from error


def _moment(moment: "datetime | None") -> str:
    return "never" if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
