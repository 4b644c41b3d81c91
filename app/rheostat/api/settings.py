"""Configuration of the server from environment variables."""

from typing import Annotated

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from rheostat.errors import ConfigurationError


class Settings(BaseSettings):
    """What a server process can be told; each field is ``RHEOSTAT_`` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="RHEOSTAT_", extra="ignore")

    database_url: str | None = Field(
        None, description="SQLite or PostgreSQL; unset: an SQLite file in the user's state directory."
    )
    host: str = Field("127.0.0.1", description="Address to listen on; loopback only.")
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


def load_settings(**overrides: object) -> Settings:
    """Read the settings; overrides that are not None win over the environment.

    Raises:
        ConfigurationError: A setting is wrong; the message names it.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings.model_validate(given) if not given else Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "; ".join(f"RHEOSTAT_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise ConfigurationError(f"A setting is wrong: {problems}.") from error
