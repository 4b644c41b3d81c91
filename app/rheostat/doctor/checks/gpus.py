"""Checks of the GPUs of this machine: whether they can be measured and limited."""

from collections.abc import Iterable

from rheostat.doctor.facts.gpus import Gpus, ReadGpu
from rheostat.doctor.finding import Finding, ok, problem, skipped, warning
from rheostat.doctor.machine import Machine

_NO_GPU = "no NVIDIA GPU here; batch sizes are advised without one"
_NOT_READ = "NVML shows no GPU here"
_LEAST_SAMPLES = 2


def driver(machine: Machine) -> Finding:
    """Check that the driver works."""
    gpus = machine.gpus
    if gpus.driver:
        return ok("driver", f"NVIDIA driver {gpus.driver}; NVML opens")
    if not gpus.is_expected:
        return skipped("driver", _NO_GPU)
    if not gpus.has_binding:
        return _without_binding(machine)
    assert gpus.error is not None
    kernel = f"Its kernel module {gpus.kernel_module} is loaded. " if gpus.kernel_module else ""
    remedy = gpus.error.hint or "Run nvidia-smi: it fails in the same way. Reboot after a driver's upgrade."
    if machine.installation.container and gpus.kernel_module:
        remedy = "Start the container with its GPUs: docker run --gpus all (NVIDIA_DRIVER_CAPABILITIES with utility)."
    found = f"{_on_bus(gpus)}, but NVML does not open: {gpus.error.message}"
    return problem("driver", found, f"{kernel}Without NVML no energy is measured and no power limit is set.", remedy)


def _without_binding(machine: Machine) -> Finding:
    found = f"{_on_bus(machine.gpus)}; nvidia-ml-py is not installed, so they are not looked at"
    if machine.node.answer is not None:
        return skipped("driver", f"{found}; the agent looks at them")
    why = "A trainer does not need it; the agent does, in its own environment."
    return warning("driver", found, why, f"Run: {machine.installation.install_command('agent')}")


def _on_bus(gpus: Gpus) -> str:
    if not gpus.on_bus:
        return "the NVIDIA driver is loaded"
    return f"{gpus.on_bus} NVIDIA GPU{'' if gpus.on_bus == 1 else 's'} on the PCI bus"


def gpus(machine: Machine) -> Finding:
    """Check that the driver shows whole GPUs, and that they respond."""
    seen = machine.gpus
    if not seen.driver:
        return skipped("gpus", _NOT_READ if seen.is_expected else _NO_GPU)
    if lost := [*(f"GPU {index}" for index in seen.unresponsive), *_names(gpu for gpu in seen.gpus if gpu.problem)]:
        reason = next((f": {gpu.problem}" for gpu in seen.gpus if gpu.problem), "")
        return problem(
            "gpus",
            f"{', '.join(lost)} did not respond{reason}",
            "Nothing is measured or limited on a GPU that hangs or is lost.",
            "Look at it: nvidia-smi, and dmesg (Xid). A reset or a reboot brings it back.",
        )
    if not seen.gpus:
        return problem(
            "gpus",
            "the driver works and shows no GPU to this process",
            "Energy and power limits need one.",
            "Give this container or job its GPUs: docker run --gpus all, or srun --gpus 1.",
        )
    if split := _names(gpu for gpu in seen.gpus if gpu.description.partitioned):
        return warning(
            "gpus",
            f"{', '.join(split)} in MIG mode",
            "Power is per whole GPU, so it is neither measured nor limited. Batch sizes are advised on it.",
            f"Turn MIG off while the GPU is idle: sudo nvidia-smi -i {_first(seen, 'partitioned')} -mig 0",
        )
    if virtual := _names(gpu for gpu in seen.gpus if gpu.description.virtual):
        return warning(
            "gpus",
            f"{', '.join(virtual)} virtual (vGPU)",
            "A virtual GPU has no power limit of its own, and often no energy. Batch sizes are advised on it.",
            "Train on a whole GPU to save energy by power limits.",
        )
    return ok("gpus", _counted([gpu.description.name for gpu in seen.gpus]))


def energy(machine: Machine) -> Finding:
    """Check how energy can be measured."""
    found = [gpu for gpu in machine.gpus.gpus if not gpu.problem and not gpu.description.partitioned]
    if not found:
        return skipped("energy", "no GPU to measure")
    if silent := _names(gpu for gpu in found if not _source(gpu)):
        return problem(
            "energy",
            f"{', '.join(silent)} gives no energy, no power samples and no power",
            "Energy stays unknown; costs are estimated at the highest power.",
            "Update NVIDIA's driver, or report energy_joules from a meter of your own.",
        )
    if still := _names(gpu for gpu in found if gpu.counter == "stands still"):
        return warning(
            "energy",
            f"the energy counter of {', '.join(still)} did not advance within a second",
            "The agent then adds up power instead, so short windows are less precise.",
            "Look again under load. Where it still stands, update the driver.",
        )
    if coarse := [gpu for gpu in found if gpu.counter == "missing"]:
        return warning(
            "energy",
            f"no energy counter on {', '.join(_names(coarse))}; energy is added up from {_source(coarse[0])}",
            "Short windows are less precise; GPUs have a counter from Volta on.",
            "Nothing to do on an older GPU. Else update NVIDIA's driver.",
        )
    samples = min(gpu.samples for gpu in found)
    return ok("energy", f"the energy counter advances; {samples} power samples in 2 s between its ticks")


def _source(gpu: ReadGpu) -> str:
    if gpu.counter == "missing":
        return "power samples" if gpu.samples >= _LEAST_SAMPLES else "power readings" if gpu.has_power else ""
    return "the counter"


def limits(machine: Machine) -> Finding:
    """Check that power limits can be set, and that none is lowered by another program."""
    found = [gpu for gpu in machine.gpus.gpus if not gpu.problem and not gpu.description.partitioned]
    if not found:
        return skipped("limits", "no GPU to limit")
    if fixed := _names(gpu for gpu in found if gpu.description.power_range is None or gpu.limit_watts is None):
        return warning(
            "limits",
            f"the driver sets no power limit on {', '.join(fixed)}",
            "This is usual on laptops and virtual GPUs. Energy is measured and batch sizes are advised all the same.",
            "Nothing to do; power limits are left out there.",
        )
    return _lowered(machine, found) or ok("limits", "; ".join(dict.fromkeys(map(_range, found))))


def _lowered(machine: Machine, found: list[ReadGpu]) -> Finding | None:
    waiting = {entry.uuid for entry in machine.node.to_restore}
    for gpu in found:
        limit, default = gpu.limit_watts, _default_watts(gpu)
        agents = machine.node.gpu(gpu.description.uuid)
        is_ours = gpu.description.uuid in waiting or (agents is not None and agents.found_watts is not None)
        if limit is None or default is None or is_ours:
            continue
        index = gpu.description.index
        if limit < default - 1:
            return warning(
                "limits",
                f"GPU {index} is limited to {limit:g} W, below its default of {default:g} W, not by this agent",
                "Rheostat never sets a limit above the one that it finds, so no run is faster than under this one.",
                f"If it is not wanted: sudo nvidia-smi -i {index} -pl {default:g}",
            )
        if gpu.enforced_watts is not None and gpu.enforced_watts < limit - 1:
            return warning(
                "limits",
                f"GPU {index} is held to {gpu.enforced_watts:g} W, below the {limit:g} W that are set",
                "Something outside the driver caps it, as a board's controller or its power supply.",
                f"See what caps it: nvidia-smi -i {index} -q -d POWER,PERFORMANCE",
            )
    return None


def _default_watts(gpu: ReadGpu) -> float | None:
    power_range = gpu.description.power_range
    if power_range is None or power_range.default_milliwatts is None:
        return None
    return power_range.default_milliwatts / 1000


def _range(gpu: ReadGpu) -> str:
    power_range, default = gpu.description.power_range, _default_watts(gpu)
    assert power_range is not None
    text = f"{power_range.min_milliwatts / 1000:g} to {power_range.max_milliwatts / 1000:g} W"
    shared = "; a limit of the whole module bounds it, too" if gpu.is_of_module else ""
    return f"{text}, default {'unknown' if default is None else f'{default:g} W'}, now {gpu.limit_watts:g} W{shared}"


def privilege(machine: Machine) -> Finding:
    """Check that the agent, or one that this user starts, may set power limits; none is set for that."""
    if machine.node.answer is not None:
        return ok("privilege", "an agent runs; who trains needs no privilege")
    if not machine.gpus.gpus:
        return skipped("privilege", "no GPU to limit")
    if machine.gpus.may_set_limits:
        return ok("privilege", "this user may set power limits, and so run the agent")
    return warning(
        "privilege",
        "this user may not set power limits: neither root nor CAP_SYS_ADMIN",
        "Only the agent needs that. One that this user starts measures energy and sets no limit.",
        f"Run the agent as root: {machine.installation.root_command} agent",
    )


def _names(gpus: Iterable[ReadGpu]) -> list[str]:
    return [f"GPU {gpu.description.index}" for gpu in gpus]


def _first(seen: Gpus, flag: str) -> int:
    return next(gpu.description.index for gpu in seen.gpus if getattr(gpu.description, flag))


def _counted(models: list[str]) -> str:
    return ", ".join(f"{models.count(model)} x {model}" for model in dict.fromkeys(models))
