"""Configuration of the server: options, environment variables, files with secrets, and a TOML file, in this order."""

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from rheostat.errors import ConfigurationError

_PREFIX = "RHEOSTAT_"
_CONFIG = "RHEOSTAT_CONFIG"

_SECRETS = ("database_url", "database_password")
"""What may stand in a file that ``RHEOSTAT_..._FILE`` names: an environment can be read in more places."""


def _listed(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class Settings(BaseModel):
    """What a server process can be told.

    Each field is an environment variable, ``RHEOSTAT_`` and its name in capitals, and a key of the configuration
    file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    database_url: str | None = Field(
        None, repr=False, description="SQLite or PostgreSQL; unset: an SQLite file in the user's state directory."
    )
    database_password: SecretStr | None = Field(None, description="Goes into the URL, which then need not have it.")
    host: str = Field("127.0.0.1", description="Address to listen on; without tokens loopback only.")
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(8420, description="Port to listen on; 0: any free one.")
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        1, description="Processes that serve; more than one pays on PostgreSQL, since SQLite writes one at a time."
    )
    lease_seconds: Annotated[float, Field(ge=1, le=86_400 * 30)] = Field(
        900.0, description="A trial that is silent for longer counts as abandoned."
    )
    max_body_bytes: Annotated[int, Field(ge=1_000)] = Field(
        1_000_000, description="A request with a larger body is refused."
    )
    request_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        30.0, description="A request's body must have come by then, and no statement in PostgreSQL takes longer."
    )
    rate_limit_per_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        1000.0, description="Requests that each worker takes with one token; 0: any number."
    )
    allowed_hosts: Annotated[list[str], BeforeValidator(_listed)] | None = Field(
        None, description="Host names to answer to; unset: on a loopback address its names, else any."
    )
    log_format: Literal["text", "json"] = Field("text", description="One line a request, for people or for machines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is worth a line.")

    @property
    def on_loopback(self) -> bool:
        """Whether nobody but this machine can reach the address."""
        try:
            return self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:
            return False


def load_settings(**overrides: object) -> Settings:
    """Read the settings; overrides that are not None win over the environment, and that over the files.

    Raises:
        ConfigurationError: Some settings are wrong; the message names each, and where it stands.
    """
    given: dict[str, Any] = {}
    sources: dict[str, str] = {}
    mistakes: list[str] = []
    config = os.environ.get(_CONFIG)
    if config:
        given |= _from_file(Path(config))
        sources |= {name: f"{name} in {config}" for name in given}
    environment, named_by = _from_environment(mistakes)
    given |= environment
    sources |= named_by
    for name, value in overrides.items():
        if value is not None:
            given[name], sources[name] = value, f"--{name.replace('_', '-')}"
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        mistakes += [_mistake(dict(problem), sources) for problem in error.errors()]
    if mistakes:
        count = "A setting is" if len(mistakes) == 1 else f"{len(mistakes)} settings are"
        raise ConfigurationError(f"{count} wrong: {'; '.join(mistakes)}.")
    return settings


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return, in words, the variables that look like a setting which somebody misspelt."""
    known = {_PREFIX + name.upper() for name in Settings.model_fields}
    known |= {f"{_PREFIX}{name.upper()}_FILE" for name in _SECRETS} | {_CONFIG}
    strange = sorted(name for name in environment if name.startswith(_PREFIX) and name not in known)
    likely = [(name, get_close_matches(name, known, n=1, cutoff=0.9)) for name in strange]
    return [f"{name} is no setting; is {meant[0]} meant?" for name, meant in likely if meant]


def _from_environment(mistakes: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the settings in the environment, and which variable each came from; an empty one counts as unset."""
    values, named_by = {}, {}
    for name in Settings.model_fields:
        variable = _PREFIX + name.upper()
        if os.environ.get(variable):
            values[name], named_by[name] = os.environ[variable], variable
        path = os.environ.get(f"{variable}_FILE") if name in _SECRETS else None
        if not path:
            continue
        if name in values:
            mistakes.append(f"{variable} and {variable}_FILE are both set: leave one of them out")
            continue
        try:
            values[name], named_by[name] = Path(path).read_text(encoding="utf-8").strip(), f"{variable}_FILE"
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            mistakes.append(f"{variable}_FILE: {path} cannot be read: {reason}")
    return values, named_by


def _from_file(path: Path) -> dict[str, object]:
    """Return the settings in the configuration file.

    Raises:
        ConfigurationError: It cannot be read, or is not TOML.
    """
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{_CONFIG}: {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{_CONFIG}: {path} is not TOML: {error}.") from error


def _mistake(problem: dict[str, Any], sources: Mapping[str, str]) -> str:
    """Say what is wrong with a setting, and where it stands; its value is not told, for it may be a secret."""
    name = str(problem["loc"][0])
    source = sources[name]
    if problem["type"] == "extra_forbidden":
        meant = get_close_matches(name, Settings.model_fields, n=1)
        return f"{source} is no setting" + (f"; is {meant[0]} meant?" if meant else "")
    message = f"{source}: {problem['msg']}"
    if str(problem["input"]).startswith("tcp://"):
        message += (
            " (Kubernetes sets this variable for a Service of the same name: set enableServiceLinks: false in the Pod)"
        )
    return message
