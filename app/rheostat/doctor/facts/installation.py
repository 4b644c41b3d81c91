"""What is installed, and where it runs."""

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import rheostat
from rheostat.extras import install_command
from rheostat.invocation import command_line, root_command_line
from rheostat.sdk.environment import misspelt

EXTRAS = ("server", "agent", "demo")
"""Those that commands need."""

_EXTRA = re.compile(r"""^(?P<name>[A-Za-z0-9._-]+)(?:\[(?P<of>[a-z,]+)\])?.*extra\s*==\s*['"](?P<extra>\w+)['"]""")
_CONTAINER_FILES = {"/.dockerenv": "Docker", "/run/.containerenv": "Podman"}


@dataclass(frozen=True, slots=True)
class Installation:
    """What is installed here.

    Attributes:
        version: Rheostat's version.
        python: Python's.
        extras: Whether each extra is installed; empty: unknown.
        misspelt: Variables that are probably meant to be others.
        system: The operating system.
        release: The kernel's release.
        container: The kind of container that this is; empty: none that is known.
        command: The command `rheostat`, as it has to be typed here.
        root_command: The same for what only root may do.
        install_commands: How each extra is installed here.
    """

    version: str = rheostat.__version__
    python: str = platform.python_version()
    extras: Mapping[str, bool] = field(default_factory=dict)
    misspelt: Mapping[str, str] = field(default_factory=dict)
    system: str = "Linux"
    release: str = ""
    container: str = ""
    command: str = "rheostat"
    root_command: str = "sudo rheostat"
    install_commands: Mapping[str, str] = field(default_factory=dict)

    def install_command(self, extra: str) -> str:
        """Return how an extra is installed."""
        return self.install_commands.get(extra, f"pip install 'rheostat[{extra}]'")

    @property
    def is_wsl(self) -> bool:
        """Whether this is Linux under Windows."""
        return "microsoft" in self.release.lower()


def look_at_installation() -> Installation:
    """Return what is installed here."""
    return Installation(
        extras=_extras(),
        misspelt=misspelt(os.environ),
        system=platform.system(),
        release=platform.release(),
        container=_container(),
        command=command_line(),
        root_command=root_command_line(),
        install_commands={extra: install_command(extra) for extra in EXTRAS},
    )


def _extras() -> dict[str, bool]:
    try:
        lines = metadata.requires("rheostat") or []
    except metadata.PackageNotFoundError:  # it runs from its source
        return {}
    needs: dict[str, list[str]] = {}
    for line in lines:
        if match := _EXTRA.match(line):
            named = match["of"].split(",") if match["name"] == "rheostat" and match["of"] else []
            needs.setdefault(match["extra"], []).extend(f"[{extra}]" for extra in named)
            if match["name"] != "rheostat":
                needs[match["extra"]].append(match["name"])
    return {extra: _is_installed(extra, needs) for extra in EXTRAS if extra in needs}


def _is_installed(extra: str, needs: Mapping[str, list[str]]) -> bool:
    for name in needs[extra]:
        if name.startswith("["):
            if not _is_installed(name.strip("[]"), needs):
                return False
            continue
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            return False
    return True


def _container() -> str:
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "Kubernetes"
    return next((name for path, name in _CONTAINER_FILES.items() if Path(path).exists()), "")
