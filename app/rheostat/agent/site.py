"""The site file: what the administrator of a node allows. TOML, writable by root only.

::

    group = "rheostat"                      # who may use the agent

    [limits]
    min_watts = 120                         # no limit below this
    max_watts = 280                         # no limit above this
    may_raise = false                       # true: limits may exceed the one found, up to max_watts
    change = true                           # false: GPUs are measured, and never limited

    [gpus.GPU-6b8cf0c4-0a53-4f0c-9d55-9c1d7b1f4f1a]
    max_watts = 250                         # for this GPU; also min_watts, may_raise
    users = ["alice"]                       # only these users may lease it
    power_limits = false                    # measured, never limited; true: despite change = false
"""

import os
import stat
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rheostat.agent.devices import PowerRange
from rheostat.agent.states import Bounds, effective_limit
from rheostat.errors import ConfigurationError, FieldError
from rheostat.schemas.fields import unknown_field

DEFAULT_PATH = Path("/etc/rheostat/agent.toml")

_Watts = Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]
_User = Annotated[str, Field(min_length=1, max_length=256)]


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Limits(_Table):
    min_watts: _Watts | None = None
    max_watts: _Watts | None = None
    may_raise: bool | None = None

    @model_validator(mode="after")
    def _limits_ordered(self) -> "_Limits":
        if self.min_watts is not None and self.max_watts is not None and self.min_watts > self.max_watts:
            raise ValueError(f"min_watts = {self.min_watts:g} is above max_watts = {self.max_watts:g}")
        return self


class _NodeLimits(_Limits):
    change: bool = True


class _GpuTable(_Limits):
    users: list[_User] | None = None
    power_limits: bool | None = None


class Site(_Table):
    """What the site allows.

    Attributes:
        group: The group whose members may use the agent.
        limits: The limits for all GPUs.
        gpus: The settings of single GPUs, by UUID.
    """

    group: Annotated[str, Field(min_length=1, max_length=256)] = "rheostat"
    limits: _NodeLimits = _NodeLimits()
    gpus: dict[Annotated[str, Field(pattern=r"^GPU-[0-9A-Za-z-]{1,92}$")], _GpuTable] = {}

    @model_validator(mode="after")
    def _gpu_limits_ordered(self) -> "Site":
        for uuid, own in self.gpus.items():
            lowest = own.min_watts or self.limits.min_watts
            highest = own.max_watts or self.limits.max_watts
            if lowest is not None and highest is not None and lowest > highest:
                raise ValueError(f"{uuid} would have a minimum of {lowest:g} W above its maximum of {highest:g} W")
        return self

    def bounds(self, uuid: str, driver: PowerRange) -> Bounds:
        """Return the allowed range of a GPU's limit; its own settings take precedence over those for all GPUs."""
        own = self.gpus.get(uuid, _GpuTable())
        lowest = own.min_watts or self.limits.min_watts
        highest = own.max_watts or self.limits.max_watts
        may_raise = own.may_raise if own.may_raise is not None else self.limits.may_raise
        return Bounds(
            driver_min_milliwatts=driver.min_milliwatts,
            driver_max_milliwatts=driver.max_milliwatts,
            site_min_milliwatts=None if lowest is None else round(lowest * 1000),
            site_max_milliwatts=None if highest is None else round(highest * 1000),
            may_raise=bool(may_raise),
        )

    def allows_power_limits(self, uuid: str) -> bool:
        """Return whether the GPU's limit may be changed at all."""
        own = self.gpus[uuid].power_limits if uuid in self.gpus else None
        return self.limits.change if own is None else own

    def settable_range(self, uuid: str, driver: PowerRange, found_milliwatts: int | None) -> tuple[int, int]:
        """Return the lowest and the highest limit that may be set; `found_milliwatts` None: not read yet."""
        found = driver.max_milliwatts if found_milliwatts is None else found_milliwatts
        bounds = self.bounds(uuid, driver)
        lowest, _ = effective_limit(driver.min_milliwatts, found, bounds)
        highest, _ = effective_limit(driver.max_milliwatts, found, bounds)
        return lowest, highest

    def allows_user(self, uuid: str, user: str) -> bool:
        """Return whether a user may lease the GPU."""
        users = self.gpus[uuid].users if uuid in self.gpus else None
        return users is None or user in users


def load_site(path: Path | None) -> Site:
    """Read the site file.

    Args:
        path: The file; None: the default path, if that file exists.

    Raises:
        ConfigurationError: When it is missing, invalid or writable by others; `fields` has every invalid field.
    """
    if path is None and not DEFAULT_PATH.exists():
        return Site()
    path = path or DEFAULT_PATH
    try:
        with path.open("rb") as file:
            _check_owner(path, os.fstat(file.fileno()))
            return Site.model_validate(tomllib.load(file))
    except OSError as error:
        raise ConfigurationError(f"The site file {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The site file {path} is not TOML: {error}.") from None
    except ValidationError as error:
        fields = [_field(problem["loc"], problem["type"], problem["msg"]) for problem in error.errors()]
        listed = "\n".join(f"  {field.field}: {field.message}" for field in fields)
        raise ConfigurationError(f"The site file {path} is invalid:\n{listed}", fields=fields) from None


def _field(path: tuple[str | int, ...], kind: str, message: str) -> FieldError:
    said = unknown_field(Site, path) if kind == "extra_forbidden" else message.removeprefix("Value error, ")
    return FieldError(".".join(map(str, path)) or "gpus", said)


def _check_owner(path: Path, status: os.stat_result) -> None:
    """Refuse a file that another user could write: it controls a process that runs as root."""
    if status.st_uid not in {0, os.geteuid()}:
        raise ConfigurationError(
            f"The site file {path} is owned by user {status.st_uid}.", hint=f"Run: chown root {path}"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigurationError(f"The site file {path} is writable by other users.", hint=f"Run: chmod go-w {path}")
