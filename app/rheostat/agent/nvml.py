"""GPUs through NVML; no other module calls it.

Limits are set by the first version of the call: pynvml's `_v2` does not check its return code.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from ctypes import byref
from pathlib import Path
from time import monotonic
from typing import Any

import pynvml

from rheostat.agent.devices import Device, GpuDescription, PowerRange, ThrottleReason
from rheostat.errors import (
    AgentError,
    DriverReloaded,
    GpuCallFailed,
    GpuReadOnly,
    GpuUnavailable,
    GpuUnsupported,
)
from rheostat.schemas.agent import PowerScope

# The bit (linux/capability.h) that the driver checks before it changes a limit.
_CAP_SYS_ADMIN = 21

_ERRORS: dict[int, type[AgentError]] = {
    pynvml.NVML_ERROR_GPU_IS_LOST: GpuUnavailable,
    pynvml.NVML_ERROR_RESET_REQUIRED: GpuUnavailable,
    pynvml.NVML_ERROR_NO_PERMISSION: GpuReadOnly,
    pynvml.NVML_ERROR_NOT_SUPPORTED: GpuUnsupported,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: GpuUnsupported,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: DriverReloaded,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: DriverReloaded,
    pynvml.NVML_ERROR_UNINITIALIZED: DriverReloaded,
}

_REASONS: dict[int, ThrottleReason] = {
    pynvml.nvmlClocksThrottleReasonSwPowerCap: "power_cap",
    pynvml.nvmlClocksThrottleReasonSwThermalSlowdown: "thermal",
    pynvml.nvmlClocksThrottleReasonHwThermalSlowdown: "thermal",
    pynvml.nvmlClocksThrottleReasonHwSlowdown: "hardware",
    pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "hardware",
}

# NVML is a part of NVIDIA's driver; `nvidia-ml-py`, which calls it, does not bring it.
_HINTS = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "Install NVIDIA's driver, which has libnvidia-ml.so.1 (Debian, Ubuntu: "
    "libnvidia-compute-VERSION; containers: NVIDIA_DRIVER_CAPABILITIES with utility), or try --simulate 1.",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "NVIDIA's driver was upgraded, and the kernel still has the old module: "
    "reboot the node, or stop what uses its GPUs and load the module again: rmmod nvidia; modprobe nvidia.",
    pynvml.NVML_ERROR_NO_PERMISSION: "Run the agent as root, or with CAP_SYS_ADMIN.",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "Load the kernel module of NVIDIA's driver: modprobe nvidia.",
}
_SCOPES: dict[int, PowerScope] = {pynvml.NVML_POWER_SCOPE_MODULE: "module", pynvml.NVML_POWER_SCOPE_GPU: "gpu"}
_PROFILE_PREFIX = "NVML_POWER_PROFILE_"
_PROFILES: dict[int, str] = {
    bit: name.removeprefix(_PROFILE_PREFIX).lower()
    for name, bit in vars(pynvml).items()
    if name.startswith(_PROFILE_PREFIX) and not name.startswith("OPERATION_", len(_PROFILE_PREFIX))
    if name != "NVML_POWER_PROFILE_MAX"
}

# A GPU may exceed its limit for a moment.
_MOST_TIMES_LIMIT = 2.0

# A transient error must not leave a GPU, or what it supports, out.
_OPEN_ATTEMPTS = 3

_UNNAMED = "Unknown GPU"
_MAX_PROFILE_LENGTH = 128

logger = logging.getLogger(__name__)


def _call(function: Callable[..., Any], *arguments: object) -> Any:
    """Call NVML and translate its errors."""
    try:
        return function(*arguments)
    except pynvml.NVMLError as error:
        raise _error(function.__name__, error) from None


def _error(what: str, error: Any) -> AgentError:
    kind = _ERRORS.get(error.value, GpuCallFailed)
    return kind(f"{what}: {error}.", hint=_HINTS.get(error.value, ""))


class NvmlDevice:
    """One GPU behind NVML."""

    def __init__(self, index: int) -> None:
        self._handle = _call(pynvml.nvmlDeviceGetHandleByIndex, index)
        mig = self._ask(pynvml.nvmlDeviceGetMigMode)
        power_range = self._power_range()
        self.description = GpuDescription(
            uuid=_call(pynvml.nvmlDeviceGetUUID, self._handle),
            index=index,
            name=self._ask(pynvml.nvmlDeviceGetName) or _UNNAMED,
            power_range=power_range,
            partitioned=mig is not None and mig[0] == pynvml.NVML_DEVICE_MIG_ENABLE,
            virtual=self._ask(pynvml.nvmlDeviceGetVirtualizationMode) == pynvml.NVML_GPU_VIRTUALIZATION_MODE_VGPU,
            minor=self._ask(pynvml.nvmlDeviceGetMinorNumber),
            most_watts=None if power_range is None else _MOST_TIMES_LIMIT * power_range.max_milliwatts / 1000,
        )

    def _power_range(self) -> PowerRange | None:
        constraints = self._ask(pynvml.nvmlDeviceGetPowerManagementLimitConstraints)
        if constraints is None:
            return None
        lowest, highest = constraints
        return PowerRange(lowest, highest, self._ask(pynvml.nvmlDeviceGetPowerManagementDefaultLimit))

    def _ask(self, query: Callable[..., Any]) -> Any | None:
        """Return the answer to a query that a GPU can be used without; None: it is not supported, or keeps failing."""
        for _ in range(_OPEN_ATTEMPTS):
            try:
                return _call(query, self._handle)
            except GpuUnsupported:
                return None
            except (GpuUnavailable, DriverReloaded):
                raise
            except AgentError as error:
                failure = error
        logger.warning("%s The GPU is used without.", failure)
        return None

    def power_limit_milliwatts(self) -> int:
        """See `Device`."""
        return int(_call(pynvml.nvmlDeviceGetPowerManagementLimit, self._handle))

    def enforced_power_limit_milliwatts(self) -> int:
        """See `Device`."""
        return int(_call(pynvml.nvmlDeviceGetEnforcedPowerLimit, self._handle))

    def set_power_limit_milliwatts(self, milliwatts: int) -> None:
        """See `Device`."""
        _call(pynvml.nvmlDeviceSetPowerManagementLimit, self._handle, milliwatts)

    def power_scope(self) -> PowerScope | None:
        """See `Device`; only boards such as Grace Hopper's answer for the module."""
        for scope, name in _SCOPES.items():
            fields = [(pynvml.NVML_FI_DEV_POWER_CURRENT_LIMIT, scope)]
            (field,) = _call(pynvml.nvmlDeviceGetFieldValues, self._handle, fields)
            if field.nvmlReturn == pynvml.NVML_SUCCESS and field.value.uiVal > 0:
                return name
        return None

    def power_profile(self) -> str | None:
        """See `Device`; from Blackwell on."""
        found = pynvml.c_nvmlWorkloadPowerProfileCurrentProfiles_v1_t()
        _call(pynvml.nvmlDeviceWorkloadPowerProfileGetCurrentProfiles, self._handle, byref(found))
        mask = found.enforcedProfilesMask.mask
        names = [name for bit, name in sorted(_PROFILES.items()) if mask[bit // 32] >> bit % 32 & 1]
        return "+".join(names)[:_MAX_PROFILE_LENGTH] or None

    def energy_millijoules(self) -> int:
        """See `Device`; the counter exists from Volta on."""
        return int(_call(pynvml.nvmlDeviceGetTotalEnergyConsumption, self._handle))

    def power_samples(self, since_us: int) -> list[tuple[int, int]]:
        """See `Device`."""
        _, samples = _call(pynvml.nvmlDeviceGetSamples, self._handle, pynvml.NVML_TOTAL_POWER_SAMPLES, since_us)
        return [(sample.timeStamp, sample.sampleValue.uiVal) for sample in samples]

    def instant_power_milliwatts(self) -> int:
        """See `Device`."""
        (field,) = _call(pynvml.nvmlDeviceGetFieldValues, self._handle, [pynvml.NVML_FI_DEV_POWER_INSTANT])
        if field.nvmlReturn != pynvml.NVML_SUCCESS:
            raise _error("the instant power", pynvml.NVMLError(field.nvmlReturn))
        return int(field.value.uiVal)

    def power_milliwatts(self) -> int:
        """See `Device`."""
        return int(_call(pynvml.nvmlDeviceGetPowerUsage, self._handle))

    def throttle_reasons(self) -> frozenset[ThrottleReason]:
        """See `Device`."""
        bits = _call(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, self._handle)
        return frozenset(reason for bit, reason in _REASONS.items() if bits & bit)


class NvmlDriver:
    """The GPUs that NVML lists.

    Args:
        open_seconds: How long to wait for a GPU to respond when it is opened.
    """

    def __init__(self, open_seconds: float = 5.0) -> None:
        self._open_seconds = open_seconds
        self._is_open = False
        self._openings: dict[int, _Opening] = {}
        self._unresponsive: tuple[int, ...] = ()

    def open(self) -> list[Device]:
        """See `Driver`; a GPU that does not respond is left out until a later call."""
        if not self._is_open:
            _call(pynvml.nvmlInit)
            self._is_open = True
        try:
            indices = range(_call(pynvml.nvmlDeviceGetCount))
            # One that still hangs since the last call is waited for, not opened again.
            self._openings = {
                index: opening if (opening := self._openings.get(index)) and opening.is_alive() else _Opening(index)
                for index in indices
            }
            deadline = monotonic() + self._open_seconds
            found = [self._openings[index].device(deadline) for index in indices]
        except AgentError:
            self.close()
            raise
        self._unresponsive = tuple(index for index, device in zip(indices, found, strict=True) if device is None)
        return [device for device in found if device is not None]

    def unresponsive(self) -> tuple[int, ...]:
        """See `Driver`."""
        return self._unresponsive

    def close(self) -> None:
        """See `Driver`."""
        if self._is_open:
            self._is_open = False
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()

    def version(self) -> str:
        """Return the version of the open driver.

        Raises:
            AgentError: As `Device` does.
        """
        return str(_call(pynvml.nvmlSystemGetDriverVersion))

    def may_set_limits(self) -> bool:
        """Return whether this process has CAP_SYS_ADMIN; the driver decides in the end."""
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
        return False


class _Opening(threading.Thread):
    """Opens one GPU on a thread of its own, so that a hung GPU does not block the others."""

    def __init__(self, index: int) -> None:
        super().__init__(name=f"open GPU {index}", daemon=True)
        self._index = index
        self._device: Device | None = None
        self._reloaded: DriverReloaded | None = None
        self.start()

    def run(self) -> None:
        """Open the GPU, with a few attempts."""
        for _ in range(_OPEN_ATTEMPTS):
            try:
                self._device = NvmlDevice(self._index)
            except DriverReloaded as error:
                self._reloaded = error
            except AgentError as error:
                logger.warning("GPU %d does not respond: %s", self._index, error)
                continue
            return

    def device(self, deadline: float) -> Device | None:
        """Return the GPU; None when it does not respond by the deadline, on the monotonic clock.

        Raises:
            DriverReloaded: When the driver was replaced while in use.
        """
        self.join(max(0.0, deadline - monotonic()))
        if self._reloaded is not None:
            raise self._reloaded
        if self.is_alive():
            logger.error("GPU %d hangs", self._index)
            return None
        return self._device
