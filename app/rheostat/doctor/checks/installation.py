"""Checks of what is installed, and of the system."""

from rheostat.doctor.finding import Finding, ok, skipped, warning
from rheostat.doctor.machine import Machine


def versions(machine: Machine) -> Finding:
    """Name the versions."""
    return ok("versions", f"Rheostat {machine.installation.version} on Python {machine.installation.python}")


def extras(machine: Machine) -> Finding:
    """Name the extras that are installed; a trainer needs none."""
    found = machine.installation.extras
    if not found:
        return skipped("extras", "unknown: Rheostat runs from its source, without being installed")
    installed = [name for name, is_installed in found.items() if is_installed]
    missing = [machine.installation.install_command(name) for name, is_installed in found.items() if not is_installed]
    text = f"installed: {', '.join(installed) or 'none, which is enough for a trainer'}"
    return ok("extras", f"{text}; more: {missing[0]}" if missing else text)


def settings(machine: Machine) -> Finding:
    """Look for variables that are probably misspelt."""
    clients = [
        f"unknown setting {name}; did you mean {meant}?" for name, meant in machine.installation.misspelt.items()
    ]
    wrong = clients + [text for text in machine.store.unknown_variables if text not in clients]
    if not wrong:
        return ok("settings", "no RHEOSTAT_ variable seems misspelt")
    return warning("settings", " ".join(wrong), "An unknown variable is ignored.", "Rename it.")


def system(machine: Machine) -> Finding:
    """Look at the operating system."""
    here = machine.installation
    if here.system != "Linux":
        return warning(
            "system",
            f"{here.system} {here.release}",
            "The agent, and so energy and power limits, need Linux. Batch sizes are advised here, too.",
            "Train on Linux to save energy by power limits.",
        )
    if here.is_wsl:
        return warning(
            "system",
            f"Linux {here.release}, under Windows (WSL)",
            "The driver under WSL sets no power limits, and often gives no energy. Batch sizes are advised here, too.",
            "Train on Linux itself to save energy by power limits.",
        )
    inside = f", in a container ({here.container})" if here.container else ""
    return ok("system", f"Linux {here.release}{inside}")
