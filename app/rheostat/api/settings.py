"""Settings of the server, from options, environment variables, secret files and a TOML file, in this order."""

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from rheostat.api.behind_proxy import PREFIX
from rheostat.errors import ConfigurationError
from rheostat.schemas.fields import sentence

_PREFIX = "RHEOSTAT_"
_CONFIG = "RHEOSTAT_CONFIG"

_SECRETS = ("database_url", "database_password")
"""Settings that ``RHEOSTAT_..._FILE`` may read from a file: more programs can read an environment than a file."""


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _prefix(text: str) -> str:
    prefix = text.rstrip("/")
    if prefix and PREFIX.fullmatch(prefix) is None:
        raise ValueError("must be a path, as /rheostat, of letters, digits and . _ ~ -")
    return prefix


def _currency(text: str, others: ValidationInfo) -> str:
    if others.data.get("electricity_price_per_kwh") is not None and not text:
        raise ValueError("must say of which currency RHEOSTAT_ELECTRICITY_PRICE_PER_KWH is, as EUR")
    return text


def _raise_file_error(value: object) -> object:
    if isinstance(value, _SecretFileError):
        raise ValueError(str(value))
    return value


class Settings(BaseSettings):
    """Settings of a server process.

    Each field is an environment variable, ``RHEOSTAT_`` and its name in capitals, and a key of the configuration
    file.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    database_url: Annotated[str | None, BeforeValidator(_raise_file_error)] = Field(
        None, repr=False, description="SQLite or PostgreSQL; unset: an SQLite file in the user's state directory."
    )
    database_password: Annotated[SecretStr | None, BeforeValidator(_raise_file_error)] = Field(
        None, description="Password of the database, when the URL has none."
    )
    host: str = Field("127.0.0.1", description="Address to listen on; without tokens loopback only.")
    port: Annotated[int, Field(ge=0, le=65_535)] = Field(8420, description="Port to listen on; 0: any free one.")
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        1, description="Processes that serve; more than one pays on PostgreSQL, since SQLite has one writer at a time."
    )
    lease_seconds: Annotated[float, Field(ge=1, le=86_400 * 30)] = Field(
        900.0, description="A trial that is silent for longer counts as abandoned."
    )
    max_connections: Annotated[int, Field(ge=8, le=65_536)] = Field(
        2048, description="Most connections of one worker; the limit on open files is raised as far as this needs."
    )
    max_body_bytes: Annotated[int, Field(ge=1_000)] = Field(
        1_000_000, description="A request with a larger body is refused."
    )
    request_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = Field(
        30.0,
        description="Longest time to receive a body, of a client to read an answer, and of a statement on PostgreSQL.",
    )
    allowed_hosts: Annotated[list[str] | None, NoDecode, BeforeValidator(_split)] = Field(
        None, description="Host names to answer to; unset: on a loopback address its names, else any."
    )
    root_path: Annotated[str, AfterValidator(_prefix)] = Field(
        "", description="Prefix that a reverse proxy serves all under, as /rheostat; unset: as X-Forwarded-Prefix says."
    )
    site_name: str = Field("", max_length=80, description="Name of this site, for the pages.")
    electricity_price_per_kwh: Annotated[float | None, Field(gt=0, le=1e6, allow_inf_nan=False)] = Field(
        None, description="Price of electricity, to show savings in money; needs RHEOSTAT_CURRENCY."
    )
    currency: Annotated[str, AfterValidator(_currency)] = Field(
        "", max_length=12, validate_default=True, description="Currency of that price, as EUR."
    )
    carbon_grams_per_kwh: Annotated[float | None, Field(gt=0, le=1e5, allow_inf_nan=False)] = Field(
        None, description="Carbon intensity of electricity in g CO2e, to show savings in emissions."
    )
    log_format: Literal["text", "json"] = Field("text", description="Format of log lines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level to log.")

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        try:
            return self.host == "localhost" or ip_address(self.host).is_loopback
        except ValueError:
            return False

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources of the settings, in order of precedence."""
        # A secret that a variable holds as well is an error, which only a source before the environment can report.
        secret_files = InitSettingsSource(settings_cls, _read_secret_files())
        return init_settings, secret_files, env_settings, _config_file(settings_cls)


class _SecretFileError(Exception):
    """Takes the place of a secret's value, so that it is reported together with all other mistakes."""


def _read_secret_files() -> dict[str, Any]:
    """Return the contents of the files that ``RHEOSTAT_..._FILE`` name, as Docker and Kubernetes mount secrets."""
    values: dict[str, Any] = {}
    for name in _SECRETS:
        variable = _variable(name)
        path = os.environ.get(f"{variable}_FILE")
        if path and os.environ.get(variable):
            values[name] = _SecretFileError(f"{variable} and {variable}_FILE are both set; unset one of them")
        elif path:
            try:
                values[name] = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                values[name] = _SecretFileError(f"{path} cannot be read: {reason}")
    return values


def _config_file(settings_cls: type[BaseSettings]) -> TomlConfigSettingsSource:
    """Return the TOML file that ``RHEOSTAT_CONFIG`` names, as a source of settings.

    Raises:
        ConfigurationError: It cannot be read, or is not TOML.
    """
    path = os.environ.get(_CONFIG)
    try:
        if path:
            Path(path).open("rb").close()  # the source would ignore a file that is missing
        return TomlConfigSettingsSource(settings_cls, Path(path) if path else None)
    except OSError as error:
        raise ConfigurationError(f"{_CONFIG}: {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{_CONFIG}: {path} is not TOML: {error}.") from error


def load_settings(**options: object) -> Settings:
    """Read the settings; options that are not None take precedence over all other sources.

    Raises:
        ConfigurationError: Some settings are wrong; the message names each, and where it is set.
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        mistakes = [_mistake(dict(problem), given) for problem in error.errors()]
    count = "A setting is" if len(mistakes) == 1 else f"{len(mistakes)} settings are"
    raise ConfigurationError(sentence(f"{count} wrong: {'; '.join(mistakes)}"))


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return a message for each variable that is probably a misspelt setting."""
    known = {_variable(name) for name in Settings.model_fields}
    known |= {f"{_variable(name)}_FILE" for name in _SECRETS} | {_CONFIG}
    unknown = sorted(name for name in environment if name.startswith(_PREFIX) and name not in known)
    likely = [(name, get_close_matches(name, known, n=1, cutoff=0.9)) for name in unknown]
    return [f"unknown setting {name}; did you mean {match[0]}?" for name, match in likely if match]


def _variable(name: str) -> str:
    return _PREFIX + name.upper()


def _place(name: str, options: Mapping[str, object]) -> str:
    """Return where a setting is set, for people."""
    variable, config = _variable(name), os.environ.get(_CONFIG)
    if name in options:
        return f"--{name.replace('_', '-')}"
    if name in _SECRETS and os.environ.get(f"{variable}_FILE"):
        return f"{variable}_FILE"
    return f"{name} in {config}" if config and not os.environ.get(variable) else variable


def _mistake(problem: dict[str, Any], options: Mapping[str, object]) -> str:
    """Say what is wrong with a setting and where it is set, without its value, which may be a secret."""
    name = str(problem["loc"][0])
    place = _place(name, options)
    if problem["type"] == "extra_forbidden":
        match = get_close_matches(name, Settings.model_fields, n=1)
        return f"{place}: unknown setting" + (f"; did you mean {match[0]}?" if match else "")
    message = f"{place}: {problem['msg'].removeprefix('Value error, ')}"
    if str(problem["input"]).startswith("tcp://"):
        message += (
            " (Kubernetes sets this variable for a Service of the same name: set enableServiceLinks: false in the Pod)"
        )
    return message
