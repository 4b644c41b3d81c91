"""docs/configuration.md has every setting, none besides, and its default."""

import inspect
import re
from collections.abc import Mapping
from typing import Any

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from rheostat import Client, JobSettings, cli
from rheostat.agent.site import Site
from rheostat.api.settings import Settings
from rheostat.sdk.environment import VARIABLES
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "configuration.md").read_text()
RUN_PAGE = (ROOT / "docs" / "run.md").read_text()
NOWHERE_ELSE = {"RHEOSTAT_CONFIG", "RHEOSTAT_DATABASE_URL_FILE", "RHEOSTAT_DATABASE_PASSWORD_FILE"}


def table(head: str) -> dict[str, list[str]]:
    """Return a table's cells after the first, by the first."""
    (rows,) = re.findall(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in rows.splitlines()]
    return {line[0].strip("` "): line[1:] for line in lines}


def check_defaults(written: Mapping[str, str], defaults: Mapping[str, Any]) -> None:
    assert set(written) == set(defaults)
    for name, default in defaults.items():
        code = re.fullmatch(r"`([^`]*)`", written[name])
        if default in (None, "", PydanticUndefined):
            assert code is None, name
            assert (written[name] == "required") == (default is PydanticUndefined), name
        else:
            assert code is not None, name
            plain = f"{default:g}" if isinstance(default, float) else str(default)
            assert code[1] == (plain.lower() if isinstance(default, bool) else plain), name


def fields(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    return {f"{prefix}{name}": field.default for name, field in model.model_fields.items()}


def options(*command: str) -> dict[str, Any]:
    """Return the options of a command and their defaults."""
    found: Any = typer.main.get_command(cli.app)
    for name in command:
        found = found.commands[name]
    return {option: each.default for each in found.params for option in each.opts if option.startswith("--")}


def test_the_servers_settings_have_their_defaults() -> None:
    tables = re.findall(r"^\| `(RHEOSTAT_\w+)` \| (.+?) \| (.*) \|$", PAGE.partition("## Client")[0], re.MULTILINE)
    written = {name: default for name, default, _ in tables}
    check_defaults(written, {f"RHEOSTAT_{name.upper()}": default for name, default in fields(Settings).items()})
    for option in set(options("serve")) - {"--help"}:
        assert f"also `{option}`" in PAGE


def test_the_clients_variables_are_listed() -> None:
    client = re.findall(r"^\| `(RHEOSTAT_\w+)` \|", PAGE.partition("## Client")[2], re.MULTILINE)
    for_the_command = set(re.findall(r"`(RHEOSTAT_[A-Z_]+)`", RUN_PAGE))
    assert {*client, "RHEOSTAT_LOCKS_DIR"} == VARIABLES - (for_the_command - {*client})


def test_the_clients_arguments_have_their_defaults() -> None:
    written = {name: cells[0] for name, cells in table("argument of `Client`").items()}
    parameters = inspect.signature(Client.__init__).parameters
    check_defaults(written, {name: parameters[name].default for name in ("timeout_seconds", "retry_for_seconds")})
    for name in set(parameters) - {"self", *written}:
        assert re.search(rf"`Client\({name}(=\.\.\.)?\)`", PAGE), name


def test_the_agents_options_have_their_defaults() -> None:
    written = {name: cells[0] for name, cells in table("option of `rheostat agent run`").items()}
    check_defaults(written, {name: each for name, each in options("agent", "run").items() if name != "--help"})


def test_the_keys_of_the_site_file_have_their_defaults() -> None:
    written = {name: cells[0] for name, cells in table("key").items()}
    limits: Any = Site.model_fields["limits"].annotation
    gpus: Any = Site.model_fields["gpus"].annotation
    defaults = {name: default for name, default in fields(Site).items() if name not in ("limits", "gpus")}
    check_defaults(written, defaults | fields(limits, "limits.") | fields(gpus.__args__[1], "gpus.UUID."))


def test_a_jobs_settings_have_their_defaults_and_options() -> None:
    rows = table("field")
    defaults = {name: default for name, default in fields(JobSettings).items() if name != "zeus"}
    check_defaults({name: cells[1] for name, cells in rows.items()}, defaults)
    assert {cells[0].strip("`") for cells in rows.values()} <= set(options("run"))


def test_every_variable_of_the_source_is_on_a_page_and_none_besides() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))
    used = set(re.findall(r"\bRHEOSTAT_[A-Z]+(?:_[A-Z]+)*\b", source)) - {"RHEOSTAT_ULR"}
    known = {f"RHEOSTAT_{name.upper()}" for name in Settings.model_fields} | VARIABLES | NOWHERE_ELSE
    written = set(re.findall(r"\bRHEOSTAT_[A-Z]+(?:_[A-Z]+)*\b", PAGE))
    assert used <= written | set(re.findall(r"\bRHEOSTAT_[A-Z]+(?:_[A-Z]+)*\b", RUN_PAGE))
    assert written <= known
