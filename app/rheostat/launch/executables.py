"""Whether a command can be run at all: found out before there is a trial, which would count as a failure."""

import os
import shutil
from pathlib import Path

from rheostat.launch.endings import NOT_EXECUTABLE, NOT_FOUND
from rheostat.launch.templates import names_in


def why_not_run(program: str) -> tuple[str, int] | None:
    """Return why a program cannot be run and what to do, and the exit code of that; None: it can, as far as is seen."""
    if names_in([program]):  # its name is known only in the trial
        return None
    path = Path(program)
    why, code = None, NOT_EXECUTABLE
    if "/" not in program and shutil.which(program) is None:
        why, code = f"it is not found on PATH. {_remedy(path)}", NOT_FOUND
    elif "/" in program and not path.exists():
        why, code = "no such file.", NOT_FOUND
    elif "/" in program and path.is_dir():
        why = "it is a directory."
    elif "/" in program and not os.access(path, os.X_OK):
        why = f"it is not executable. Run it by its interpreter, as {_interpreted(path)}, or: chmod +x {program}"
    return None if why is None else (f"{program} cannot be run: {why}", code)


def _remedy(program: Path) -> str:
    if not any(character.isalpha() for character in program.name):
        return "The first word that is no option begins the command: lists have commas and no spaces, as 32,64,128."
    if program.is_file():
        return f"Write {_interpreted(program)}."
    return "Is it spelt right and installed, and its environment active?"


def _interpreted(program: Path) -> str:
    return f"{'python' if program.suffix == '.py' else 'sh'} {program}"
