"""What a demo may have left behind."""

import os
from pathlib import Path


def processes_naming(directory: Path) -> list[int]:
    """Return the processes whose command line names a directory; zombies have none."""
    wanted = os.fspath(directory).encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command_line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if wanted in command_line:
                found.append(int(entry.name))
    return found
