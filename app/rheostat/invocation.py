"""How the command line is called again, in what is shown to be typed."""

import os
import shlex
import shutil
import sys
from pathlib import Path


def command_line() -> str:
    """Return the command `rheostat` as it has to be typed in this directory."""
    script = _script()
    found = shutil.which("rheostat")
    if found is not None and script.exists() and script.samefile(found):
        return "rheostat"
    here = Path.cwd()
    # Kept in its environment's directory: a resolved link would be another Python's.
    typed = script.relative_to(here) if script.is_relative_to(here) else script
    if script.exists():
        return shlex.quote(os.fspath(typed))
    return f"{shlex.quote(sys.executable)} -m rheostat"


def root_command_line() -> str:
    """Return the command `rheostat` as it has to be typed for root, who has another search path."""
    if os.geteuid() == 0:
        return command_line()
    script = _script()
    return f"sudo {shlex.quote(os.fspath(script))}" if script.exists() else f"sudo {command_line()}"


def _script() -> Path:
    return Path(sys.executable).with_name("rheostat")
