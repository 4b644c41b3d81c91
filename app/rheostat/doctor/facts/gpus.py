"""The GPUs of this machine and their driver."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep, time_ns
from typing import Literal, TypeVar

from rheostat.agent.devices import Device, GpuDescription
from rheostat.doctor.facts.patience import Look
from rheostat.errors import AgentError

T = TypeVar("T")

_PCI_DEVICES = Path("/sys/bus/pci/devices")
_KERNEL_MODULE = Path("/proc/driver/nvidia/version")
_NVIDIA, _DISPLAY = "0x10de", "0x03"
_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?")

_TICK_SECONDS = 1.0
"""Longest wait for the energy counter, which ticks every 100 ms."""
_SAMPLES_US = 2_000_000
_READ_SECONDS = 5.0

Counter = Literal["advances", "stands still", "missing"]


@dataclass(frozen=True, slots=True)
class ReadGpu:
    """A GPU, as it was read.

    Attributes:
        description: Its fixed properties.
        limit_watts: The power limit that is set; None: unknown.
        enforced_watts: The one in force; None: unknown.
        counter: Its energy counter.
        samples: Number of the driver's power samples of the last two seconds.
        has_power: Whether its power can be read.
        is_of_module: Whether a limit of GPU and processor together bounds it, too.
        problem: Why nothing was read; empty: it was.
    """

    description: GpuDescription
    limit_watts: float | None = None
    enforced_watts: float | None = None
    counter: Counter = "missing"
    samples: int = 0
    has_power: bool = False
    is_of_module: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Gpus:
    """The GPUs of a machine.

    Attributes:
        on_bus: Number of NVIDIA GPUs on the PCI bus, whether or not this process may use them.
        kernel_module: Version of the driver's kernel module; empty: it is not loaded.
        has_binding: Whether nvidia-ml-py, which calls NVML, is installed.
        driver: The driver's version; empty: NVML did not open.
        error: Why NVML did not open.
        gpus: The GPUs that NVML shows.
        unresponsive: The numbers of those that did not respond.
        may_set_limits: Whether this process seems to be privileged enough to change limits.
    """

    on_bus: int = 0
    kernel_module: str = ""
    has_binding: bool = False
    driver: str = ""
    error: AgentError | None = None
    gpus: tuple[ReadGpu, ...] = ()
    unresponsive: tuple[int, ...] = ()
    may_set_limits: bool = False

    @property
    def is_expected(self) -> bool:
        """Whether this machine has NVIDIA GPUs, or their driver."""
        return bool(self.on_bus or self.kernel_module or self.driver or self.gpus)


def look_at_gpus() -> Gpus:
    """Return the GPUs of this machine; no limit is set."""
    on_bus, kernel_module = _on_bus(), _kernel_module()
    try:
        from rheostat.agent.nvml import NvmlDriver  # noqa: PLC0415 -- nvidia-ml-py is an extra
    except ModuleNotFoundError:
        return Gpus(on_bus, kernel_module)
    driver = NvmlDriver()
    may_set_limits = driver.may_set_limits()
    try:
        devices = driver.open()
        version = driver.version()
    except AgentError as error:
        return Gpus(on_bus, kernel_module, has_binding=True, error=error, may_set_limits=may_set_limits)
    give_up_at = monotonic() + _READ_SECONDS
    looks = [(device, Look(lambda device=device: _read(device))) for device in devices]  # type: ignore[misc]
    gpus = tuple(_result(device, look, give_up_at) for device, look in looks)
    unresponsive = driver.unresponsive()
    if all(not look.is_alive() for _, look in looks):
        driver.close()
    return Gpus(
        on_bus,
        kernel_module,
        has_binding=True,
        driver=version,
        gpus=gpus,
        unresponsive=unresponsive,
        may_set_limits=may_set_limits,
    )


def _result(device: Device, look: "Look[ReadGpu]", give_up_at: float) -> ReadGpu:
    look.join(max(0.0, give_up_at - monotonic()))
    if look.result is not None:
        return look.result
    return ReadGpu(device.description, problem=str(look.error or "the driver does not respond"))


def _read(device: Device) -> ReadGpu:
    description = device.description
    limit = _asked(device.power_limit_milliwatts)
    enforced = _asked(device.enforced_power_limit_milliwatts)
    since_us = time_ns() // 1000 - _SAMPLES_US
    return ReadGpu(
        description,
        limit_watts=None if limit is None else limit / 1000,
        enforced_watts=None if enforced is None else enforced / 1000,
        counter=_counter(device),
        samples=len(_asked(lambda: device.power_samples(since_us)) or ()),
        has_power=_asked(device.power_milliwatts) is not None,
        is_of_module=_asked(device.power_scope) == "module",
    )


def _counter(device: Device) -> Counter:
    first = _asked(device.energy_millijoules)
    if first is None:
        return "missing"
    give_up_at = monotonic() + _TICK_SECONDS
    while monotonic() < give_up_at:
        sleep(0.05)
        if _asked(device.energy_millijoules) not in (None, first):
            return "advances"
    return "stands still"


def _asked(query: Callable[[], T]) -> T | None:
    try:
        return query()
    except AgentError:
        return None


def _on_bus() -> int:
    count = 0
    for folder in _PCI_DEVICES.glob("*"):
        try:
            vendor, kind = ((folder / name).read_text().strip() for name in ("vendor", "class"))
        except OSError:
            continue
        count += vendor == _NVIDIA and kind.startswith(_DISPLAY)
    return count


def _kernel_module() -> str:
    try:
        match = _VERSION.search(_KERNEL_MODULE.read_text())
    except OSError:
        return ""
    return "" if match is None else match[0]
